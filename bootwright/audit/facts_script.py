"""The script by which a board tells an audit what it needs to know, in one round trip.

Every program started costs an emulated board 50 ms and more, and the docker command 500: what
does not depend on each other runs at once, and containers and images are inspected in one call
each. No container's secret leaves the board: no environment, no labels, no command lines, and of an
image's history only how many instructions of two kinds there are. Each fact is a file in a
folder of the script's own, and the folder is printed at the end; what may be long is compressed.
The parser is in :mod:`bootwright.audit.facts`.

Sources: docker(1) ``inspect``, ``info``; moby's ``api/types/container`` and ``image/store`` (the
configuration of an image with its history); auditctl(8); proc_pid_mountinfo(5).
"""

from collections.abc import Sequence

from bootwright.core.shell import render
from bootwright.remote.sections import SECTIONS

DAEMON_JSON = "/etc/docker/daemon.json"

UNITS = (
    *("docker.service", "docker.socket", "containerd.service", "auditd.service"),
    *("bootwright-logs.service", "bootwright-logs.socket"),
)

LONG = ("info", "containers", "images", "history", "networks", "privileges", "links")
"""Facts that are compressed."""

_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "ExecStart")

CONTAINER = (
    '{"id":{{json .ID}},"name":{{json .Name}},"image":{{json .Config.Image}},'
    '"image_id":{{json .Image}},"state":{{json .State.Status}},"user":{{json .Config.User}},'
    '"apparmor":{{json .AppArmorProfile}},"mounts":{{json .Mounts}},'
    '"ports":{{json .NetworkSettings.Ports}},'
    '"networks":[{{$comma := ""}}{{range $name, $_ := .NetworkSettings.Networks}}'
    '{{$comma}}{{json $name}}{{$comma = ","}}{{end}}],'
    '"health":{{with .State.Health}}{{json .Status}}{{else}}null{{end}},'
    '"log_driver":{{json .HostConfig.LogConfig.Type}}'
    "@host@}"
)
"""Go's template for what is told of a container: nothing that holds secrets.

By the names of moby's Go types, not those of its JSON: with one of the latter docker goes back to
plain tables, where what is optional is missing.
"""

_HOST_CONFIG = (
    *("Privileged", "CapAdd", "CapDrop", "NetworkMode", "PidMode", "IpcMode", "UTSMode"),
    *("UsernsMode", "CgroupParent", "Memory", "CPUShares", "NanoCPUs", "CPUQuota", "PidsLimit"),
    *("ReadonlyRootfs", "RestartPolicy", "Devices", "Ulimits", "SecurityOpt", "CPUPeriod"),
    *("MaskedPaths", "ReadonlyPaths", "DeviceCgroupRules", "DeviceRequests"),
)

IMAGE = (
    '{"id":{{json .ID}},"tags":{{json .RepoTags}}'
    '{{with .Config}},"user":{{json .User}},"healthcheck":{{with .Healthcheck}}{{with .Test}}'
    "{{json (index . 0)}}{{else}}null{{end}}{{else}}null{{end}}{{end}}}"
)
"""Likewise of an image. Of a health check only its kind: its command may hold a password."""

NETWORK = (
    '{"name":{{json .Name}},"driver":{{json .Driver}},"options":{{json .Options}},'
    '"containers":[{{$comma := ""}}{{range $id, $_ := .Containers}}'
    '{{$comma}}{{json $id}}{{$comma = ","}}{{end}}]}'
)

WAIT_S = 60
"""Seconds that one call of docker may take."""

MOST = 16 * 1024 * 1024
"""Bytes that a fact may have, on the board and once it is unpacked here."""


def audit_script(paths: Sequence[str]) -> str:
    """Return the script that reports on the board; it needs root.

    Args:
        paths: whose owner and mode matter; shell patterns without blanks and quotes.
    """
    host = "".join(f',"{name}":{{{{json .HostConfig.{name}}}}}' for name in _HOST_CONFIG)
    return render(
        SECTIONS,
        "hosts/shell/wait_until_started.sh",
        "audit/shell/audit_facts.sh",
        daemon_json=DAEMON_JSON,
        wait_seconds=WAIT_S,
        max_bytes=MOST,
        container_format=CONTAINER.replace("@host@", host),
        image_format=IMAGE,
        network_format=NETWORK,
        properties=tuple(f"--property={name}" for name in _PROPERTIES),
        units=UNITS,
        paths=" ".join(paths),
        compressed=LONG,
    )
