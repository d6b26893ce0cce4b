"""The hardening profile as data: ``profiles/<name>/*.toml``, read and checked.

A profile says what a Docker host should be. Each of its requirements names the checks that it
meets, what it needs, and why it is there. Check ids are those of the CIS Docker Benchmark 1.6.0 as
docker-bench-security 1.6.0 numbers them; ``cis_1_11`` are those of CIS Docker 1.11.0.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bootwright.core.errors import InputError
from bootwright.core.options import did_you_mean
from bootwright.core.toml_model import StrictModel, load_table

CheckIds = tuple[Annotated[str, Field(pattern=r"^[1-7](\.\d{1,2}){1,2}$")], ...]
KernelOptions = tuple[Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")], ...]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^\s]*[^/\s]$")]
Version = Annotated[str, Field(pattern=r"^\d+(\.\d+){1,2}$")]

Needed = Literal["docker", "dm-crypt", "seccomp", "userns", "cgroup", "apparmor", "audit"]
"""What a kernel option is for."""

ValueType = Literal["bool", "number", "text", "texts", "table"]
"""Types of values in daemon.json: a number is a whole one, ``texts`` is a list."""


class _Requirement(StrictModel):
    """What every requirement has: the checks that it meets, and why it is there."""

    checks: CheckIds = ()
    cis_1_11: CheckIds = ()
    why: Annotated[str, Field(min_length=10)]


class Setting(_Requirement):
    """A key of ``daemon.json`` and the profile's value for it.

    Attributes:
        key: the key.
        value: its value; ``None``: the profile does not set the key, and ``why`` says why not.
        only: the values that a target may set; empty: any.
        kernel: the kernel options that the value needs.
        since: the first engine that knows the value, if the key itself is older.
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
    """A key of ``daemon.json`` that some engines know.

    Attributes:
        name: the key.
        type: of its value; a value of another type stops the daemon. ``None``: not checked.
        since: the first engine that knows it; ``None``: all that are supported, from 20.10 on.
        until: the first engine that no longer knows it.
        reload: a change takes effect by SIGHUP, without a restart.
        removed: for a key that the engine no longer knows: a sentence about what replaced it.
    """

    name: str
    type: ValueType | None = None
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


class Watch(_Requirement):
    """Paths that auditd watches, if they exist.

    Attributes:
        paths: the paths.
        permissions: which accesses are recorded, as in auditctl(8): some of ``r w x a``.
        recursive: where a path is a folder, everything below it as well.
    """

    paths: tuple[AbsolutePath, ...]
    permissions: Annotated[str, Field(pattern=r"^r?w?x?a?$", min_length=1)]
    recursive: bool = False


class AuditHistory(StrictModel):
    """How long auditd's files reach back.

    Attributes:
        hours: of records that are kept.
        health_check_bytes: what one health check of a container adds.
        other_mib: MiB that everything else adds in a day.
        most_percent: of the free space that the files may take, all together.
    """

    hours: Annotated[int, Field(ge=1, le=8760)]
    health_check_bytes: Annotated[int, Field(ge=1, le=10_000_000)]
    other_mib: Annotated[int, Field(ge=1, le=100_000)]
    most_percent: Annotated[int, Field(ge=1, le=90)]


class AuditProfile(StrictModel):
    """``audit.toml``."""

    history: AuditHistory
    watch: tuple[Watch, ...]


class FileMode(_Requirement):
    """The owner and the permissions of files and folders, if they exist.

    Attributes:
        paths: may be shell patterns.
        owner: user and group, such as ``root:docker``.
        mode: octal digits; fewer permissions are right too.
        exact: only these permissions are right.
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
    """An option of the kernel.

    Attributes:
        options: its names without ``CONFIG_``; one of them is enough.
        need: what it is for.
        required: without it the profile cannot be applied.
        cost: what does not work without it.
    """

    options: KernelOptions
    need: Needed
    required: bool = False
    cost: Annotated[str, Field(min_length=10)]


class KernelProfile(StrictModel):
    """``kernel.toml``."""

    option: tuple[KernelOption, ...]


class Package(StrictModel):
    """A package.

    Attributes:
        debian: its name on Debian; ``None`` if it is not needed there.
        arch: its name on Arch Linux ARM; likewise.
        optional: it is installed only if the distribution has it.
        only_for: it is needed only for this feature.
        instead: packages that do the same: if one is installed, this one is not needed.
        why: what it is for.
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


class SshSetting(_Requirement):
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
        """Return what the profile says about a key of daemon.json; ``None`` if nothing."""
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
    profile = Profile(
        name=name,
        daemon=load_table(DaemonProfile, folder / "daemon.toml"),
        engine=load_table(EngineFacts, folder / "engine.toml"),
        audit=load_table(AuditProfile, folder / "audit.toml"),
        files=load_table(FilesProfile, folder / "files.toml"),
        kernel=load_table(KernelProfile, folder / "kernel.toml"),
        host=load_table(HostProfile, folder / "host.toml"),
    )
    if errors := _errors(profile):
        raise InputError("\n".join(f"{folder}/{error}" for error in errors))
    return profile


def _errors(profile: Profile) -> list[str]:
    """Return what no file shows by itself: keys that no engine knows, and what is there twice."""
    daemon, engine = profile.daemon, profile.engine
    known = [key.name for key in engine.key]
    errors = [
        f"daemon.toml: {table}: no engine knows the key {key!r}"
        f"{did_you_mean(key, known) or '; engine.toml lists the known ones'}"
        for table, keys in (
            ("setting", [one.key for one in daemon.setting]),
            ("waiver", [one.key for one in daemon.waiver]),
        )
        for key in keys
        if key not in known
    ]
    names = {
        "daemon.toml: setting: key": [one.key for one in daemon.setting],
        "daemon.toml: waiver: key": [one.key for one in daemon.waiver],
        "engine.toml: key: name": known,
        "engine.toml: log_driver: name": [one.name for one in engine.log_driver],
        "engine.toml: storage_driver: name": [one.name for one in engine.storage_driver],
        "audit.toml: watch: paths": [path for one in profile.audit.watch for path in one.paths],
        "files.toml: file: paths": [path for one in profile.files.file for path in one.paths],
        "host.toml: ssh: directive": [one.directive.lower() for one in profile.host.ssh],
        "host.toml: package: debian": [one.debian for one in profile.host.package if one.debian],
        "host.toml: package: arch": [one.arch for one in profile.host.package if one.arch],
    }
    for where, found in names.items():
        twice = [name for name, count in Counter(found).items() if count > 1]
        errors += [f"{where}: {name!r} is there more than once; keep one" for name in twice]
    return errors


def version_key(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare: ``20.10.24+dfsg1`` → (20, 10, 24).

    Numbers of more than nine digits are no version.
    """
    match = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
