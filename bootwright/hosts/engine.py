"""A running Docker engine, as ``docker info --format '{{json .}}'`` reports it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bootwright.core.errors import FailedError
from bootwright.core.parsing import PARSE_ERRORS


@dataclass(frozen=True)
class Engine:
    """What the engine reports of itself.

    Attributes:
        version: the server's version.
        client_version: the version of the command, reported from 23.0 on; else empty.
        containers: how many there are, running or not.
        running: how many of them run.
        images: how many there are.
        root_dir: the folder of its data, with user namespaces one with ids below data-root;
            empty if it is not reported.
        storage_driver: the one in use now.
        log_driver: the one that a new container gets.
        live_restore: containers go on running while the daemon does not.
        swarm: state of the swarm node, ``inactive`` without one.
        security: the options, such as ``name=seccomp,profile=default``.
        authorization: the authorization plugins in use.
        warnings: what the engine warns of, without the word WARNING: limits that the kernel does
            not have, forwarding that is off, an open API.
    """

    version: str
    client_version: str
    containers: int
    running: int
    images: int
    root_dir: str
    storage_driver: str
    log_driver: str
    live_restore: bool
    swarm: str
    security: tuple[str, ...]
    authorization: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def userns(self) -> bool:
        """Whether root in a container is an unprivileged user of the board."""
        return "name=userns" in self.security


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
        return Engine(
            version=_text(info, "ServerVersion"),
            client_version=_text(info.get("ClientInfo") or {}, "Version"),
            containers=int(info.get("Containers") or 0),
            running=int(info.get("ContainersRunning") or 0),
            images=int(info.get("Images") or 0),
            root_dir=_text(info, "DockerRootDir"),
            storage_driver=_text(info, "Driver"),
            log_driver=_text(info, "LoggingDriver"),
            live_restore=info.get("LiveRestoreEnabled") is True,
            swarm=_text(info.get("Swarm") or {}, "LocalNodeState") or "inactive",
            security=_texts(info.get("SecurityOptions")),
            authorization=_texts((info.get("Plugins") or {}).get("Authorization")),
            warnings=tuple(
                " ".join(text.removeprefix("WARNING:").split())
                for text in _texts(info.get("Warnings"))
            ),
        )
    except PARSE_ERRORS as error:
        raise FailedError(f"could not parse the output of docker info: {error}") from None


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
