"""How a Debian root file system is built: its recipe, the digest of it, and mmdebstrap's argv."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from bootwright.core import paths
from bootwright.core.board import OtherSuite
from bootwright.core.shell import render
from bootwright.rootfs.source import Mmdebstrap

SCHEMA = 1
"""Version of the way of building; increase it when the same recipe gives another result."""

EMULATOR_MODULES = (
    "ext4",
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
)
"""Modules that QEMU's ``virt`` machine needs in the initial RAM disk."""

HOOK_PACKAGES = ("ca-certificates", "initramfs-tools", "zstd")
"""Packages that the hooks need; they are installed in addition to those of ``rootfs.toml``."""

HOOKS = ("setup", "install", "finish", "device-trees")
"""The scripts ``rootfs/debian/<hook>.sh``; every Debian root file system uses the same ones."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""Debian's signing keys; the path is the same on this machine and on the board."""

STEP_PREFIX = "bootwright: "
"""The start of a line in which a hook prints the name of the step that begins."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a Debian root file system contains.

    Attributes:
        suite: of Debian, such as ``bookworm``.
        architecture: as Debian names it, such as ``armhf``.
        components: of the archive, such as ``main``.
        packages: names of the packages to install; dependencies follow.
        other_suites: packages to install from other suites of the same archive.
        exclude: globs of paths that dpkg does not unpack.
        keep: globs of paths that dpkg unpacks although ``exclude`` matches them.
        modules: kernel modules for the initial RAM disk.
        device_trees: file names of the device trees that the board's boot script may load.
        mirror: address of a Debian mirror; ``None`` for this machine's apt sources.
        hooks: the texts of the scripts, in the order of :data:`HOOKS`.
    """

    suite: str
    architecture: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    other_suites: tuple[OtherSuite, ...]
    exclude: tuple[str, ...]
    keep: tuple[str, ...]
    modules: tuple[str, ...]
    device_trees: tuple[str, ...]
    mirror: str | None
    hooks: tuple[str, ...]

    @classmethod
    def from_source(
        cls,
        source: Mmdebstrap,
        *,
        packages: Sequence[str] = (),
        other_suites: Sequence[OtherSuite] = (),
        modules: Sequence[str] = (),
        device_trees: Sequence[str] = (),
        mirror: str | None = None,
    ) -> Self:
        """Return the recipe of ``source`` for a board.

        Args:
            source: the content of ``rootfs.toml``.
            packages: those that the board needs in addition to the source's.
            other_suites: packages that the board needs from other suites.
            modules: kernel modules that the board's initial RAM disk needs.
            device_trees: file names of the board's device trees.
            mirror: a Debian mirror's address; ``None`` for this machine's apt sources.
        """
        folder = paths.checkout() / "rootfs" / "debian"
        return cls(
            suite=source.suite,
            architecture=source.architecture,
            components=source.components,
            packages=_unique([*HOOK_PACKAGES, *source.packages, *packages]),
            other_suites=tuple(other_suites),
            exclude=source.exclude,
            keep=source.keep,
            modules=_unique([*EMULATOR_MODULES, *modules]),
            device_trees=_unique(device_trees),
            mirror=mirror,
            hooks=tuple((folder / f"{name}.sh").read_text(encoding="utf-8") for name in HOOKS),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe: 64 hexadecimal digits, the same for the same recipe."""
        parts = {
            "schema": SCHEMA,
            **asdict(self),
            "other_suites": [other.model_dump() for other in self.other_suites],
        }
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def suites(self) -> tuple[str, ...]:
        """The suite itself, and the two suites with updates for it."""
        return (self.suite, f"{self.suite}-updates", f"{self.suite}-security")

    @property
    def required_suites(self) -> tuple[str, ...]:
        """The suites without whose index the root file system cannot be built."""
        return (self.suite, *(other.suite for other in self.other_suites))


def tar_name(recipe: Recipe, without: Sequence[str] = ()) -> str:
    """Return the file name of the tarball in the cache.

    Args:
        recipe: what it is built from.
        without: suites that could not be fetched; the name contains them.
    """
    lacking = f"-without-{'+'.join(sorted(without))}" if without else ""
    return f"debian-{recipe.digest[:16]}{lacking}.tar"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


@dataclass(frozen=True)
class AptSource:
    """One suite of one archive."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def line(self) -> str:
        """The source as a line of ``sources.list``; apt checks it with Debian's own keys."""
        return f"deb [signed-by={KEYRING}] {self.uri} {self.suite} {' '.join(self.components)}"


def sources_of_mirror(recipe: Recipe, mirror: str) -> tuple[AptSource, ...]:
    """Return the recipe's suites on ``mirror``, the address of a Debian archive.

    The security suite is expected in the archive ``…/debian-security`` if ``mirror`` is
    ``…/debian``, as on Debian's own mirrors.
    """
    base = mirror.rstrip("/")
    return tuple(
        AptSource(
            f"{base}-security" if suite.endswith("-security") else base,
            suite,
            recipe.components,
        )
        for suite in recipe.suites
    )


def sources_of_host(recipe: Recipe, files: Mapping[str, str]) -> tuple[AptSource, ...]:
    """Return the recipe's suites from this machine's apt sources.

    Other vendors use the names of Debian's suites too. So an archive is used only if it has all
    components of the recipe, and if its entry names no other signing key than Debian's.

    Args:
        recipe: names the suites and components.
        files: the texts of ``sources.list`` and of the files in ``sources.list.d``, by
            name; ``.sources`` files are in deb822 format, the others have one source a line.
    """
    found: dict[str, AptSource] = {}
    for name, text in sorted(files.items()):
        entries = _deb822(text) if name.endswith(".sources") else _one_line(text)
        for uri, suite, components, signed_by in entries:
            debian = signed_by is None or "debian-archive" in signed_by
            if suite in recipe.suites and set(recipe.components) <= components and debian:
                # The first archive is used, because apt prefers it too.
                found.setdefault(suite, AptSource(uri, suite, recipe.components))
    return tuple(found[suite] for suite in recipe.suites if suite in found)


def other_sources(recipe: Recipe, sources: Iterable[AptSource]) -> tuple[AptSource, ...]:
    """Return the recipe's other suites, in the archive that has the recipe's own suite.

    Args:
        recipe: names the other suites and their components.
        sources: where the packages of the recipe's suite come from.
    """
    archives = [source.uri for source in sources if source.suite == recipe.suite]
    return tuple(
        AptSource(uri, other.suite, other.components)
        for uri in archives
        for other in recipe.other_suites
    )


def pins(recipe: Recipe) -> str:
    """Return apt preferences by which only the listed packages come from the other suites."""
    lines = []
    for other in recipe.other_suites:
        for component in other.components:
            pin = f"Pin: release n={other.suite},c={component}\n"
            # A stanza for named packages has precedence over the one for all packages.
            lines.append(f"Package: {' '.join(other.packages)}\n{pin}Pin-Priority: 990\n")
            lines.append(f"Package: *\n{pin}Pin-Priority: -1\n")
    return "\n".join(lines)


_Entry = tuple[str, str, set[str], str | None]
"""An apt source: address, suite, components, and the value of ``signed-by``."""


def _one_line(text: str) -> Iterable[_Entry]:
    """Yield the sources in lines such as ``deb [signed-by=KEYS] URI SUITE COMPONENT…``."""
    pattern = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)")
    for line in text.splitlines():
        if match := pattern.match(line.strip()):
            options = dict(part.partition("=")[::2] for part in (match[1] or "").split())
            yield match[2], match[3].rstrip("/"), set(match[4].split()), options.get("signed-by")


def _deb822(text: str) -> Iterable[_Entry]:
    """Yield the sources in stanzas of ``Field: value`` lines, one for each address and suite."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            else:
                name, _, value = line.partition(":")
                name = name.lower()
                fields[name] = value.strip()
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0")
        if enabled and "deb" in fields.get("types", "").split():
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    components = set(fields.get("components", "").split())
                    yield uri, suite.rstrip("/"), components, fields.get("signed-by")


def mmdebstrap_argv(
    recipe: Recipe,
    mode: str,
    target: str,
    sources: Sequence[AptSource],
    board_only: Sequence[AptSource] = (),
) -> list[str]:
    """Return the command that builds the recipe.

    Args:
        recipe: what to build.
        mode: of mmdebstrap: ``root`` or ``unshare``.
        target: the uncompressed tarball to write.
        sources: the apt sources that packages are installed from.
        board_only: sources that are not used now, but are written to the board's
            ``sources.list``.
    """
    setup, install, finish, device_trees = recipe.hooks
    filters = [f"path-exclude={glob}" for glob in recipe.exclude]
    filters += [f"path-include={glob}" for glob in recipe.keep]
    filters += [f"path-include=/usr/lib/linux-image-*/{name}" for name in recipe.device_trees]
    files = [
        file_hook("/etc/initramfs-tools/conf.d/bootwright", 0o644, INITRAMFS_CONF),
        file_hook("/etc/initramfs-tools/modules", 0o644, _lines(recipe.modules)),
        file_hook("/etc/bootwright/device-trees", 0o644, _lines(recipe.device_trees)),
        file_hook("/etc/kernel/postinst.d/bootwright-device-trees", 0o755, device_trees),
        # For the build only: finish.sh removes both files.
        file_hook(
            "/etc/apt/sources.list.d/bootwright-build.list",
            0o644,
            _lines(source.line for source in other_sources(recipe, sources)),
        ),
        file_hook("/etc/apt/preferences.d/bootwright-build", 0o644, pins(recipe)),
        # In /run, which mmdebstrap empties at its end. Scripts in a home directory would not be
        # readable in mode unshare.
        file_hook("/run/bootwright/setup.sh", 0o755, setup),
        file_hook("/run/bootwright/install.sh", 0o755, install),
        file_hook("/run/bootwright/finish.sh", 0o755, finish),
    ]
    packages = [
        *recipe.packages,
        *(name for other in recipe.other_suites for name in other.packages),
    ]
    return [
        "mmdebstrap",
        f"--mode={mode}",
        # "custom" installs nothing by itself: the extract hook installs the packages, faster.
        "--variant=custom",
        "--format=tar",
        f"--architectures={recipe.architecture}",
        *(f"--dpkgopt={line}" for line in filters),
        *(f"--setup-hook={hook}" for hook in files),
        f"--setup-hook={script_hook('setup.sh')}",
        f"--extract-hook={script_hook('install.sh', packages)}",
        *([f"--customize-hook={sources_hook(board_only)}"] if board_only else []),
        f"--customize-hook={script_hook('finish.sh')}",
        recipe.suite,
        target,
        *(source.line for source in sources),
    ]


INITRAMFS_CONF = "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n"
"""Only the listed modules: 5 MB instead of 25 MB, and built minutes faster."""


def _lines(values: Iterable[str]) -> str:
    return "".join(f"{value}\n" for value in values)


def file_hook(path: str, mode: int, text: str) -> str:
    """Return the hook that writes a file into the root directory."""
    return render("rootfs/shell/write_file.sh", path=path, mode=f"{mode:04o}", text=text)


def script_hook(name: str, arguments: Sequence[str] = ()) -> str:
    """Return the hook that runs a script of the recipe, which another hook has written."""
    path = f"/run/bootwright/{name}"
    return render("rootfs/shell/run_hook.sh", path=path, arguments=tuple(arguments))


def sources_hook(sources: Iterable[AptSource]) -> str:
    """Return the hook that adds sources to the board's ``sources.list``."""
    return render("rootfs/shell/add_sources.sh", text=_lines(source.line for source in sources))


_INDEX_ERROR = re.compile(
    r"^Err:\d+ \S+ ([^\s/]+)(?:/\S+)?(?: \S+)? (?:InRelease|Release(?:\.gpg)?|Packages)\s*\n"
    r"  (.*?)\s*(?:\[IP: [^\]]*\])?$",
    re.MULTILINE,
)


def failed_suites(log: str) -> dict[str, str]:
    """Return the suites whose package index apt could not fetch, each with apt's reason.

    Args:
        log: mmdebstrap's output.
    """
    return {match[1]: match[2] for match in _INDEX_ERROR.finditer(log)}


def is_absent(reason: str) -> bool:
    """Return whether apt's reason is that the mirror does not have the file: waiting is useless."""
    return reason.startswith(("404 ", "File not found"))


def lacking_suite(recipe: Recipe, log: str) -> OtherSuite | None:
    """Return the other suite of the recipe that the mirror does not have, or not its packages.

    Args:
        recipe: what was to be built.
        log: mmdebstrap's output.

    Returns:
        ``None`` if it failed for another reason.
    """
    failed = failed_suites(log)
    absent = {match[1] or match[2] for match in _NO_PACKAGE.finditer(log)}
    for other in recipe.other_suites:
        if other.suite in failed:
            if is_absent(failed[other.suite]):
                return other
        elif absent.intersection(other.packages):
            return other
    return None


_NO_PACKAGE = re.compile(
    r"^E: (?:Unable to locate package (\S+)|Package '?([^' ]+)'? has no installation candidate)",
    re.MULTILINE,
)


def binfmt_problem(machine: str, mounted: bool, registration: str | None) -> str | None:
    """Return why this machine cannot run ARM programs, and what to do; ``None`` if it can.

    Args:
        machine: the kernel's name for the processor, as ``uname -m`` prints it.
        mounted: whether ``binfmt_misc`` is mounted.
        registration: the text of its file ``qemu-arm``; ``None`` if there is none.
    """
    if machine.startswith(("arm", "aarch64")):
        return None
    if registration is not None and registration.startswith("enabled"):
        return None
    commands = ["apt-get install qemu-user-static binfmt-support"]
    if not mounted:
        commands.append("mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc")
    commands.append("update-binfmts --enable qemu-arm")
    return "\n".join(
        [
            "this machine cannot run ARM programs, which building Debian for armhf needs"
            " (binfmt_misc has no enabled qemu-arm). Run as root, or run scripts/setup:",
            *(f"  {command}" for command in commands),
        ]
    )


def unprivileged_problem(user: str, newuidmap: bool, subuid: str, namespaces: bool) -> str | None:
    """Return why a user who is not root cannot build, and what to do; ``None`` if they can.

    Args:
        user: the login name.
        newuidmap: whether the tool ``newuidmap`` is installed.
        subuid: the text of ``/etc/subuid``.
        namespaces: whether the kernel allows the user to make a user namespace.
    """
    lacking = []
    if not newuidmap:
        lacking.append("the tool newuidmap (as root: apt-get install uidmap)")
    if not any(line.startswith(f"{user}:") for line in subuid.splitlines()):
        lacking.append(
            f"subordinate ids (as root: usermod --add-subuids 100000-165535"
            f" --add-subgids 100000-165535 {user})"
        )
    if not namespaces:
        lacking.append(
            "user namespaces (as root: sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu"
            " kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    if not lacking:
        return None
    return "\n".join(
        [
            "building Debian needs root; for an ordinary user, this is missing here:",
            *(f"  {item}" for item in lacking),
        ]
    )
