"""The tasks: ``inv --list`` names them, ``inv --help TASK`` explains one.

Nothing is decided here: each task hands its options to the package and prints what
comes back. Exit codes: 0 done, 2 wrong input, 3 refused for safety, 4 the device, the
board or a tool failed, 70 a bug of ours.
"""

from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from bootwright.task import guarded, print_result

_JSON = "print exactly one JSON document on standard output"


@task(
    auto_shortflags=False,
    iterable=["authorized_key"],
    help={
        "json": _JSON,
        "yes": "do not ask; for scripts",
        "dry-run": "show what would be done and touch nothing",
        "device": "the card (/dev/sdX), an existing image file, or a new *.img",
        "target": "a target of bootwright.toml (default: odroid)",
        "rootfs": "archlinuxarm or debian, instead of the target's",
        "rootfs-file": "a tarball to use instead of the download",
        "rootfs-unverified": "use a download that nothing can verify",
        "blobs": "folder with the vendor's signed boot blobs",
        "size": "size of a new image file (default: 8GiB)",
        "authorized-key": "public key (file) that may log in; can be repeated",
        "passphrase-file": "file with the passphrase; only you may read it",
        "fixed-disk-serial": "serial number of the fixed disk that is really meant",
        "large": "allow a disk of more than 256 GiB",
    },
)
@guarded
def flash(
    _: Context,
    device: str = "",
    target: str = "odroid",
    rootfs: str = "",
    rootfs_file: str = "",
    rootfs_unverified: bool = False,
    blobs: str = "",
    size: str = "",
    authorized_key: Any = None,
    passphrase_file: str = "",
    fixed_disk_serial: str = "",
    large: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Make a verified, bootable card whose Docker data is encrypted."""
    from bootwright.flash import FlashOptions
    from bootwright.flash import flash as make
    from bootwright.manifest import plan_lines, summary
    from bootwright.report import TextReporter

    options = FlashOptions(
        device=device,
        target=target,
        rootfs=rootfs or None,
        rootfs_file=rootfs_file or None,
        rootfs_unverified=rootfs_unverified,
        blobs=blobs or None,
        size=size or None,
        authorized_keys=tuple(authorized_key or ()),
        passphrase_file=passphrase_file or None,
        fixed_disk_serial=fixed_disk_serial or None,
        large=large,
        yes=yes,
        dry_run=dry_run,
    )
    document = make(options, TextReporter())
    print_result(document, plan_lines(document) if dry_run else summary(document), json)


@task(
    auto_shortflags=False,
    positional=["target"],
    help={"json": _JSON, "target": "a target of bootwright.toml"},
)
@guarded
def config(_: Context, target: str, json: bool = False) -> None:
    """Show a target's effective configuration and where each value came from."""
    from bootwright import paths
    from bootwright.config import as_document, as_lines, load_config

    effective = load_config(paths.checkout(), target)
    print_result(as_document(effective), as_lines(effective), json)


namespace = Collection(flash, config)
