"""Where a root file system comes from: the models of ``rootfs/<name>/rootfs.toml``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, check_table, read_toml

Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]
"""An OpenPGP fingerprint: 40 upper-case hexadecimal digits, no spaces."""

InsidePath = Annotated[str, Field(pattern=r"^/[^/]")]
"""An absolute path within the root file system."""


class _Common(StrictModel):
    """The keys that every kind of root file system has."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    summary: str
    kernel: InsidePath
    initrd: InsidePath | None = None


class Mmdebstrap(_Common):
    """A Debian tarball that is built on this machine by mmdebstrap."""

    kind: Literal["mmdebstrap"]
    suite: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    architecture: str = Field(pattern=r"^[a-z0-9]+$")
    components: tuple[str, ...] = Field(min_length=1)
    packages: tuple[str, ...] = Field(min_length=1)
    exclude: tuple[str, ...] = ()
    """Paths, as globs, that dpkg does not unpack (its ``path-exclude``)."""
    keep: tuple[str, ...] = ()
    """Paths, as globs, that dpkg unpacks although excluded (its ``path-include``)."""


class Tarball(_Common):
    """A tarball that a distribution publishes."""

    kind: Literal["tarball"]
    url: str = Field(pattern=r"^https?://")
    """Its address; ``{platform}`` stands for the distribution's name of the board."""
    signature_suffix: str | None = None
    """The address with this suffix is that of a detached OpenPGP signature."""
    digest_suffix: str | None = None
    """The address with this suffix is that of a digest file; such as ``.md5``."""
    signing_key: Fingerprint | None = None
    keyserver: str | None = None


class _Source(StrictModel):
    """Either of the two kinds, chosen by the key ``kind``; :func:`check_table` needs a model."""

    rootfs: Annotated[Mmdebstrap | Tarball, Field(discriminator="kind")]


def load_rootfs_source(path: Path) -> Mmdebstrap | Tarball:
    """Return the content of a file ``rootfs/<name>/rootfs.toml``.

    Raises:
        InputError: the file cannot be read, or a key is missing, unknown or wrong.
    """
    return check_table(_Source, {"rootfs": read_toml(path)}, str(path)).rootfs


def load_source(root: Path, name: str) -> Mmdebstrap | Tarball:
    """Return the root file system ``name`` of the checkout ``root``.

    Raises:
        InputError: there is no root file system of that name, or its file is wrong.
    """
    path = root / "rootfs" / name / "rootfs.toml"
    if not path.is_file():
        there = sorted(p.parent.name for p in (root / "rootfs").glob("*/rootfs.toml"))
        raise InputError(f"no root file system {name!r}; there are: {', '.join(there)}")
    return load_rootfs_source(path)
