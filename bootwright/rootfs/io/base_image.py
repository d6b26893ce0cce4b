"""The root file system as a cached ext4 image, before it is changed for a particular card."""

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bootwright.core import paths
from bootwright.core.board import Board, RootfsOnBoard
from bootwright.core.config import Target
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.fsync import replace_file
from bootwright.core.io.lock import exclusive
from bootwright.core.report import Reporter
from bootwright.rootfs.debian_plan import Recipe
from bootwright.rootfs.io import acquire as tarballs
from bootwright.rootfs.io import debian
from bootwright.rootfs.io.ext4_build import build_ext4
from bootwright.rootfs.io.image_digest import image_digest
from bootwright.rootfs.io.tarball_cache import Tarballs, sha256_of
from bootwright.rootfs.origin import Origin
from bootwright.rootfs.size import root_bytes
from bootwright.rootfs.source import Mmdebstrap, Tarball

BUILDER_VERSION = 1
"""Version of the way of building; increase it when the same tarball gives another file system."""

JOURNAL_MIB = 16
"""Size of the journal in MiB: enough for a board. mke2fs's default, 64, makes writing slower."""

KEPT_IMAGES = 4
"""The number of images in the cache; beyond it, the least recently used one is removed."""


@dataclass(frozen=True)
class BaseImage:
    """A cached ext4 image, the same for every card, and the origin of its content.

    Attributes:
        path: the image.
        origin: where its content came from.
        digest: of the image as it was built; see :func:`image_digest`.
    """

    path: Path
    origin: Origin
    digest: str
    _checking: list[Future[str]] = field(default_factory=list, repr=False, compare=False)

    def start_check(self) -> None:
        """Start to compute the digest of the image, beside what this process does meanwhile."""
        pool = ThreadPoolExecutor(1)
        self._checking.append(pool.submit(image_digest, self.path))
        pool.shutdown(wait=False)  # the thread ends after its work

    def is_damaged(self) -> bool:
        """Return whether the image has other bytes than those that were built.

        It waits for the check that was started.
        """
        try:
            found = self._checking[0].result() if self._checking else image_digest(self.path)
        except OSError:
            return True
        return found != self.digest

    def check(self) -> None:
        """Check that the image is not damaged.

        Raises:
            FailedError: it is.
        """
        if self.is_damaged():
            raise FailedError(f"{self.path}: it was damaged after it was built; run it again")

    def discard(self) -> None:
        """Remove the image from the cache; the next run builds it again."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RootfsOptions:
    """The options of the command line for the root file system.

    Attributes:
        file: ``--rootfs-file``.
        unverified: ``--rootfs-unverified``.
    """

    file: Path | None = None
    unverified: bool = False


def check_cache(cache: Path) -> None:
    """Check that the tools for ext4 can open files in the cache.

    Raises:
        InputError: the path has a character that has a meaning to them.
    """
    if re.search(r'[?"\n\r]', str(cache)):
        raise InputError(
            f"{str(cache)!r}: the cache cannot be here, because e2fsprogs cannot open a path with a"
            " question mark, a double quote or a line break; set BOOTWRIGHT_CACHE to another folder"
        )


def obtain(
    board: Board,
    target: Target,
    source: Mmdebstrap | Tarball,
    options: RootfsOptions,
    cache: Path,
    reporter: Reporter,
) -> BaseImage:
    """Return the target's root file system as an ext4 image; build it if it is not in the cache.

    Args:
        board: has the packages, the ext4 features and the platform.
        target: has the size of the partition, and how a download is verified.
        source: the root file system.
        options: see :class:`RootfsOptions`.
        cache: the directory of tarballs and images.
        reporter: shows the progress and warnings.

    The check of an image that was in the cache has been started: see :meth:`BaseImage.check`.

    Raises:
        InputError: an option is wrong, or the tarball has a refused entry or is too large for
            ``root_size``.
        RefusedError: the tarball fails a check or cannot be verified.
        FailedError: building or downloading failed.
    """
    if isinstance(source, Mmdebstrap) and options.file is None:
        tarball, key, origin = _build(board, target, source, cache, reporter)
    else:
        tarball, key, origin = _acquire(board, target, source, options, cache, reporter)
    return _as_ext4(board, target, tarball, key, origin, cache, reporter)


def cached(
    board: Board,
    target: Target,
    source: Mmdebstrap | Tarball,
    options: RootfsOptions,
    cache: Path,
) -> BaseImage | None:
    """Return what :func:`obtain` would return, if it is in the cache and undamaged.

    Nothing is changed.
    """
    if options.file is not None:
        if not options.file.is_file():
            raise InputError(f"--rootfs-file {options.file}: no such file")
        key = f"sha256:{sha256_of(options.file)}"
    elif isinstance(source, Mmdebstrap):
        tarball = debian.cached(debian_recipe(board, target, source), cache / "debian")
        if tarball is None:
            return None
        key = _built_key(tarball)
    else:
        platform = board.rootfs.get(source.name, RootfsOnBoard()).platform or ""
        record = Tarballs(cache).newest(source.url.replace("{platform}", platform))
        if record is None:
            return None
        key = f"sha256:{record.sha256}"
    base = _read_record(base_path(cache, board, target, key))
    return None if base is None or base.is_damaged() else base


def debian_recipe(board: Board, target: Target, source: Mmdebstrap) -> Recipe:
    """Return the recipe of the Debian root file system for this board."""
    own = board.rootfs.get(source.name, RootfsOnBoard())
    return Recipe.from_source(
        source,
        packages=(*own.packages, *target.packages),
        other_suites=own.other_suites,
        modules=board.initramfs_modules,
        device_trees=board.device_trees,
        mirror=target.mirror,
    )


def base_path(cache: Path, board: Board, target: Target, key: str) -> Path:
    """Return the path in the cache of the ext4 image for this target.

    Args:
        cache: the directory of the cache.
        board: has the ext4 features.
        target: has the size of the partition.
        key: identifies the tarball.
    """
    parts: Sequence[object] = (
        BUILDER_VERSION,
        key,
        target.root_size,
        sorted(board.ext4.features),
        JOURNAL_MIB,
    )
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return cache / "ext4" / f"{digest}.ext4"


def _build(
    board: Board, target: Target, source: Mmdebstrap, cache: Path, reporter: Reporter
) -> tuple[Path, str, Origin]:
    recipe = debian_recipe(board, target, source)
    tarball = debian.build(recipe, cache / "debian", reporter)
    # The digest of a tarball that was built here becomes known when it is read; see _as_ext4.
    origin = Origin(source.name, f"mmdebstrap {source.suite}", "", "apt")
    return tarball, _built_key(tarball), origin


def _built_key(tarball: Path) -> str:
    # The name contains the digest of the recipe. The time differs if it was built again.
    return f"built:{tarball.name}:{tarball.stat().st_mtime_ns}"


def _acquire(
    board: Board,
    target: Target,
    source: Mmdebstrap | Tarball,
    options: RootfsOptions,
    cache: Path,
    reporter: Reporter,
) -> tuple[Path, str, Origin]:
    if isinstance(source, Mmdebstrap):
        assert options.file is not None
        if not options.file.is_file():
            raise InputError(f"--rootfs-file {options.file}: no such file")
        digest = sha256_of(options.file)
        where = str(options.file)
        return options.file, f"sha256:{digest}", Origin(source.name, where, digest, "operator")
    own = board.rootfs.get(source.name, RootfsOnBoard())
    if own.platform is None and options.file is None:
        raise InputError(
            f"{source.name} publishes no tarball for {board.name}: board.toml has no"
            f" rootfs.{source.name}.platform; give --rootfs-file"
        )
    key_file = target.signing_key_file
    got = tarballs.acquire(
        source,
        own.platform or "",
        tarballs.AcquireOptions(
            rootfs_file=options.file,
            sha256=target.rootfs_sha256,
            key_file=paths.expand_user(key_file) if key_file else None,
            unverified=options.unverified,
        ),
        cache,
        reporter,
    )
    where = got.source_url or str(options.file)
    return got.path, f"sha256:{got.sha256}", Origin(source.name, where, got.sha256, got.verified_by)


def _as_ext4(
    board: Board,
    target: Target,
    tarball: Path,
    key: str,
    origin: Origin,
    cache: Path,
    reporter: Reporter,
) -> BaseImage:
    image = base_path(cache, board, target, key)
    image.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(image.with_suffix(".lock"), f"building {image.name}", reporter.note):
        base = _read_record(image)
        if base is None:
            base = _make(board, target, tarball, image, origin, reporter)
        base.start_check()
        image.touch()
    _remove_old(image)
    # How the tarball was verified may differ from when the image was built.
    made = Origin(origin.kind, origin.source, base.origin.sha256, origin.verified_by)
    return replace(base, origin=made)


def _make(
    board: Board,
    target: Target,
    tarball: Path,
    image: Path,
    origin: Origin,
    reporter: Reporter,
) -> BaseImage:
    with reporter.step(f"Fill an ext4 file system from {tarball.name}"):
        built = build_ext4(
            tarball,
            image,
            size=root_bytes(target),
            features=board.ext4.features,
            uuid=str(uuid.uuid4()),
            label="root",
            # A tarball of 1970 is one whose maker has no clock, or wants none in it.
            timestamp=min(max(1, int(tarball.stat().st_mtime)), 2**32 - 1),
            journal_mib=JOURNAL_MIB,
            expected_sha256=origin.sha256 or None,
            reporter=reporter,
        )
    for warning in built.warnings:
        reporter.warn(warning)
    made = Origin(origin.kind, origin.source, built.sha256, origin.verified_by)
    digest = image_digest(image)
    # Replaced in one step: later runs could not read half a record.
    record = {"origin": asdict(made), "image_sha256": digest}
    replace_file(image.with_suffix(".json"), json.dumps(record) + "\n")
    return BaseImage(image, made, digest)


def _read_record(image: Path) -> BaseImage | None:
    """Return the image with its record; ``None`` if one of them is missing or cannot be read."""
    try:
        record = json.loads(image.with_suffix(".json").read_text(encoding="utf-8"))
        base = BaseImage(image, Origin(**record["origin"]), str(record["image_sha256"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return base if image.is_file() else None


def _remove_old(current: Path) -> None:
    ages = {}
    for image in current.parent.glob("*.ext4"):
        with suppress(FileNotFoundError):  # another run has removed it meanwhile
            ages[image] = image.stat().st_mtime
    for old in sorted(ages, key=ages.__getitem__)[:-KEPT_IMAGES]:
        if old != current:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)
