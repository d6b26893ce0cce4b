"""Containers and images for tests of an audit, as Docker reports them."""

from dataclasses import replace
from typing import Any

from bootwright.audit.inspected import Container, ContainerMount, Image, Port


def container(**different: Any) -> Container:
    """Return a container as plain ``docker run -d -p 8080:80 bb:1`` starts it."""
    plain = Container(
        id="a" * 64,
        name="web",
        image="bb:1",
        image_id="sha256:" + "b" * 64,
        state="running",
        user="",
        apparmor="docker-default",
        mounts=(),
        ports=(Port("80/tcp", "0.0.0.0", 8080), Port("80/tcp", "::", 8080)),
        networks=("bridge",),
        health=None,
        log_driver="json-file",
        privileged=False,
        cap_add=(),
        network_mode="default",
        pid_mode="",
        ipc_mode="private",
        uts_mode="",
        userns_mode="",
        cgroup_parent="",
        memory=0,
        cpu_shares=0,
        nano_cpus=0,
        cpu_quota=0,
        pids_limit=None,
        readonly=False,
        restart=("no", 0),
        devices=(),
        ulimits=(),
        security=(),
        no_new_privileges=False,
        unconfined_paths=False,
        device_rules=(),
        device_requests=0,
        cpu_period=0,
    )
    return replace(plain, **different)


def restricted(**different: Any) -> Container:
    """Return a container that was started with every restriction, and one published port."""
    held = container(
        user="1000:1000",
        ports=(Port("80/tcp", "192.0.2.7", 8080),),
        networks=("inside",),
        network_mode="inside",
        health="healthy",
        log_driver="local",
        memory=64 * 2**20,
        cpu_shares=512,
        pids_limit=100,
        readonly=True,
        restart=("on-failure", 5),
        ulimits=("nofile",),
        security=("no-new-privileges:true",),
        no_new_privileges=True,
    )
    return replace(held, **different)


def bind(source: str, destination: str = "/data", writable: bool = True) -> ContainerMount:
    return ContainerMount("bind", source, destination, writable, "rprivate")


def image(**different: Any) -> Image:
    """Return an image without a health check, as ``docker import`` makes it."""
    plain = Image("sha256:" + "b" * 64, ("bb:1",), "", healthcheck=False, adds=0, updates=0)
    return replace(plain, **different)
