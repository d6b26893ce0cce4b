"""The hardening profile as data: ``profiles/<name>/*.toml``, read and checked.

A profile says what a Docker host should be, each wish with the checks that it answers, what
it needs, and why. Check ids are those of the CIS Docker Benchmark 1.6.0 as
docker-bench-security 1.6.0 numbers them; ``cis_1_11`` are those of CIS Docker 1.11.0.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, load_table

CheckIds = tuple[Annotated[str, Field(pattern=r"^[1-7](\.\d{1,2}){1,2}$")], ...]
KernelOptions = tuple[Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")], ...]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\s]*[^/\s]$")]
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+){1,2}$")]

Needed = Literal["docker", "dm-crypt", "seccomp", "userns", "cgroup", "apparmor", "audit"]
"""What a kernel option is for."""


class _Wish(StrictModel):
    """What every wish has: the checks it answers, and why it is there."""

    checks: CheckIds = ()
    cis_1_11: CheckIds = ()
    why: Annotated[str, Field(min_length=10)]


class Setting(_Wish):
    """A key of ``daemon.json`` and the profile's value for it.

    Without a ``value`` the profile only takes a stand, and ``why`` says which; ``only`` are the
    values that the key may have where somebody sets it (none: any). ``kernel`` are the options
    that the value needs; ``since`` is the first engine that knows the value, where the key
    alone is older.
    """

    key: str
    value: Any = None
    only: tuple[Any, ...] = ()
    kernel: KernelOptions = ()
    since: Version | None = None


class ProfileWaiver(StrictModel):
    """A check that the profile leaves unmet on purpose, unless a target sets ``key`` itself."""

    key: str
    checks: CheckIds
    cis_1_11: CheckIds = ()
    reason: Annotated[str, Field(min_length=20)]


class DaemonProfile(StrictModel):
    """``daemon.toml``."""

    setting: tuple[Setting, ...]
    waiver: tuple[ProfileWaiver, ...] = ()


class EngineKey(StrictModel):
    """A key that some engine knows in ``daemon.json``.

    ``since`` is the first engine that knows it (absent: all that are supported, from 20.10
    on), ``until`` the first that no longer does. ``reload``: SIGHUP is enough. ``removed``
    says what became of it, for who still has it.
    """

    name: str
    since: Version | None = None
    until: Version | None = None
    reload: bool = False
    removed: str = ""


class StorageDriver(StrictModel):
    """A storage driver and the first engine without it."""

    name: str
    until: Version | None = None


class LogDriver(StrictModel):
    """A log driver and the names of its ``log-opts``."""

    name: str
    options: tuple[str, ...]


class EngineFacts(StrictModel):
    """``engine.toml``: what the supported engines understand."""

    key: tuple[EngineKey, ...]
    common_log_options: tuple[str, ...]
    log_driver: tuple[LogDriver, ...]
    storage_driver: tuple[StorageDriver, ...]


class Watch(_Wish):
    """Paths that auditd watches where they exist; ``permissions`` of ``r``, ``w``, ``x``, ``a``.

    ``recursive``: with everything below, where the path is a folder.
    """

    paths: tuple[AbsolutePath, ...]
    permissions: Annotated[str, Field(pattern=r"^r?w?x?a?$", min_length=1)]
    recursive: bool = False


class AuditProfile(StrictModel):
    """``audit.toml``."""

    watch: tuple[Watch, ...]


class FileMode(_Wish):
    """The owner and the most permissions of a file or folder, where it exists.

    ``paths`` may hold shell patterns. ``mode`` is octal text; fewer permissions are right too,
    but for ``exact``.
    """

    paths: tuple[AbsolutePath, ...]
    owner: Annotated[str, Field(pattern=r"^[a-z]+:[a-z]+$")]
    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$")]
    exact: bool = False

    @property
    def bits(self) -> int:
        """The permissions as a number."""
        return int(self.mode, 8)


class FilesProfile(StrictModel):
    """``files.toml``."""

    file: tuple[FileMode, ...]


class KernelOption(StrictModel):
    """A kernel option: any of ``options`` (without ``CONFIG_``), for what, and at what cost.

    ``required``: without it the profile cannot be applied at all.
    """

    options: KernelOptions
    need: Needed
    required: bool = False
    cost: Annotated[str, Field(min_length=10)]


class KernelProfile(StrictModel):
    """``kernel.toml``."""

    option: tuple[KernelOption, ...]


class Package(StrictModel):
    """A package by its name in each distribution; ``None`` where it needs none.

    ``optional``: installed only where the distribution has it. ``instead``: others that do
    the same; where one of them is there, nothing is missing. ``only_for``: needed only by who
    wants that.
    """

    debian: str | None = None
    arch: str | None = None
    optional: bool = False
    only_for: Literal["logs"] | None = None
    instead: tuple[str, ...] = ()
    why: Annotated[str, Field(min_length=10)]

    def name(self, family: str) -> str | None:
        """Return the package's name in a family, ``debian`` or ``arch``."""
        return self.debian if family == "debian" else self.arch


class SshSetting(_Wish):
    """A directive of sshd_config(5) and its value, as ``sshd -T`` prints it."""

    directive: str
    value: str


class HostProfile(StrictModel):
    """``host.toml``."""

    package: tuple[Package, ...]
    ssh: tuple[SshSetting, ...]


class Profile(StrictModel):
    """A whole profile."""

    name: str
    daemon: DaemonProfile
    engine: EngineFacts
    audit: AuditProfile
    files: FilesProfile
    kernel: KernelProfile
    host: HostProfile

    def setting(self, key: str) -> Setting | None:
        """Return the profile's stand on a key of daemon.json, if it has one."""
        return next((item for item in self.daemon.setting if item.key == key), None)


def load_profile(root: Path, name: str = "docker-host") -> Profile:
    """Return the profile ``name`` from the folder ``root/name``.

    Raises:
        InputError: no such profile, or a wrong key or value (names file and key).
    """
    folder = root / name
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
        raise InputError(f"no profile {name!r}; there are: {known}")
    return Profile(
        name=name,
        daemon=load_table(DaemonProfile, folder / "daemon.toml"),
        engine=load_table(EngineFacts, folder / "engine.toml"),
        audit=load_table(AuditProfile, folder / "audit.toml"),
        files=load_table(FilesProfile, folder / "files.toml"),
        kernel=load_table(KernelProfile, folder / "kernel.toml"),
        host=load_table(HostProfile, folder / "host.toml"),
    )


def version_key(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare: ``20.10.24+dfsg1`` → (20, 10, 24).

    No number of a real version has more than nine digits.
    """
    match = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
