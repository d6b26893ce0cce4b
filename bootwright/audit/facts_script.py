"""The script that reports the facts about a board for an audit, in one SSH call.

On an emulated board each started program takes 50 ms or more, and the docker command 500 ms. So
independent parts run at the same time, and all containers, and all images, are inspected by one
call each. No secret of a container leaves the board: no environment, no labels, no command lines;
of an image's history only the number of instructions of two kinds is reported. Each fact is a file
in a temporary folder, and all files are printed at the end; long ones are compressed.
:mod:`bootwright.audit.facts` parses the output.

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

COMPRESSED = ("info", "containers", "images", "history", "networks", "privileges", "links")
"""The sections that are compressed."""

_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "ExecStart")

CONTAINER_FORMAT = (
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
"""The Go template for a container; it has nothing that may contain secrets.

It uses the field names of moby's Go types, not those of its JSON. With a name of the JSON, docker
would apply the template to plain maps, in which optional fields are missing.
"""

_HOST_CONFIG = (
    *("Privileged", "CapAdd", "CapDrop", "NetworkMode", "PidMode", "IpcMode", "UTSMode"),
    *("UsernsMode", "CgroupParent", "Memory", "CPUShares", "NanoCPUs", "CPUQuota", "PidsLimit"),
    *("ReadonlyRootfs", "RestartPolicy", "Devices", "Ulimits", "SecurityOpt", "CPUPeriod"),
    *("MaskedPaths", "ReadonlyPaths", "DeviceCgroupRules", "DeviceRequests"),
)

IMAGE_FORMAT = (
    '{"id":{{json .ID}},"tags":{{json .RepoTags}}'
    '{{with .Config}},"user":{{json .User}},"healthcheck":{{with .Healthcheck}}{{with .Test}}'
    "{{json (index . 0)}}{{else}}null{{end}}{{else}}null{{end}}{{end}}}"
)
"""The Go template for an image. Of a health check it has only the kind: the command may contain a
password."""

NETWORK_FORMAT = (
    '{"name":{{json .Name}},"driver":{{json .Driver}},"options":{{json .Options}},'
    '"containers":[{{$comma := ""}}{{range $id, $_ := .Containers}}'
    '{{$comma}}{{json $id}}{{$comma = ","}}{{end}}]}'
)

WAIT_S = 60
"""The most seconds that one call of docker may take."""

MAX_FACT_BYTES = 16 * 1024 * 1024
"""The most bytes of a fact, on the board and after it is unpacked here."""


def audit_script(paths: Sequence[str]) -> str:
    """Return the script that reports the facts about a board; it needs root.

    Args:
        paths: the paths whose owner and mode are reported; shell patterns without blanks and
            quotes.
    """
    host = "".join(f',"{name}":{{{{json .HostConfig.{name}}}}}' for name in _HOST_CONFIG)
    return render(
        SECTIONS,
        "hosts/shell/wait_until_started.sh",
        "hosts/shell/same_folders.sh",
        "hosts/shell/root_docker.sh",
        "audit/shell/audit_facts.sh",
        daemon_json=DAEMON_JSON,
        wait_seconds=WAIT_S,
        max_bytes=MAX_FACT_BYTES,
        container_format=CONTAINER_FORMAT.replace("@host@", host),
        image_format=IMAGE_FORMAT,
        network_format=NETWORK_FORMAT,
        properties=tuple(f"--property={name}" for name in _PROPERTIES),
        units=UNITS,
        paths=" ".join(paths),
        compressed=COMPRESSED,
    )
