"""A running Docker engine, as ``docker info --format '{{json .}}'`` tells of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS


@dataclass(frozen=True)
class Engine:
    """What the engine says of itself.

    Attributes:
        version: the server's.
        client_version: the command's, where it says (from 23.0 on); else empty.
        containers: how many there are, running or not.
        running: how many of them run.
        images: how many there are.
        storage_driver: in use now.
        log_driver: what a new container gets.
        live_restore: containers outlive the daemon.
        swarm: state of the swarm node, ``inactive`` without one.
        security: the options, such as ``name=seccomp,profile=default``.
        root_dir: where it keeps its data; below data-root with userns-remap.
        cgroup_version: ``1`` or ``2``.
        authorization: the authorization plugins in use.
        insecure_registries: networks and names that are spoken to without TLS.
        warnings: what the engine warns of.
    """

    version: str
    client_version: str
    containers: int
    running: int
    images: int
    storage_driver: str
    log_driver: str
    live_restore: bool
    swarm: str
    security: tuple[str, ...]
    root_dir: str
    cgroup_version: str
    authorization: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def userns(self) -> bool:
        """Whether root in a container is nobody outside of it."""
        return "name=userns" in self.security

    @property
    def no_new_privileges(self) -> bool:
        """Whether containers can gain no privileges; said from 23.0 on only."""
        return "name=no-new-privileges" in self.security


def parse_engine(text: str) -> Engine | None:
    """Return what ``docker info`` printed; ``None`` if no engine answered it.

    Raises:
        FailedError: it is not what ``docker info`` prints.
    """
    if not text.strip():
        return None
    try:
        info: dict[str, Any] = json.loads(text)
        # Printed with an error and without a server when that does not answer.
        if not info.get("ServerVersion"):
            return None
        registry = info.get("RegistryConfig") or {}
        indexes: Mapping[str, Any] = registry.get("IndexConfigs") or {}
        return Engine(
            version=_text(info, "ServerVersion"),
            client_version=_text(info.get("ClientInfo") or {}, "Version"),
            containers=int(info.get("Containers") or 0),
            running=int(info.get("ContainersRunning") or 0),
            images=int(info.get("Images") or 0),
            storage_driver=_text(info, "Driver"),
            log_driver=_text(info, "LoggingDriver"),
            live_restore=info.get("LiveRestoreEnabled") is True,
            swarm=_text(info.get("Swarm") or {}, "LocalNodeState") or "inactive",
            security=_texts(info.get("SecurityOptions")),
            root_dir=_text(info, "DockerRootDir"),
            cgroup_version=_text(info, "CgroupVersion"),
            authorization=_texts((info.get("Plugins") or {}).get("Authorization")),
            insecure_registries=(
                *_texts(registry.get("InsecureRegistryCIDRs")),
                *(name for name, index in indexes.items() if index.get("Secure") is False),
            ),
            warnings=_texts(info.get("Warnings")),
        )
    except PARSE_ERRORS as error:
        raise FailedError(f"what docker info printed cannot be understood: {error}") from None


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
