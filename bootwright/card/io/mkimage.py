"""Compiling U-Boot's boot script with mkimage."""

import tempfile
from pathlib import Path

from bootwright.core.io.process import run


def compile_boot_script(text: bytes) -> bytes:
    """Return ``boot.txt`` as ``boot.scr``.

    The time stamp in it is fixed, so the same script always gives the same bytes.

    Raises:
        FailedError: mkimage is missing or failed.
    """
    with tempfile.TemporaryDirectory(prefix="bootwright-") as folder:
        source, result = Path(folder, "boot.txt"), Path(folder, "boot.scr")
        source.write_bytes(text)
        argv = ["mkimage", "-A", "arm", "-O", "linux", "-T", "script", "-C", "none"]
        run(
            [*argv, "-n", "bootwright", "-d", str(source), str(result)],
            env={"SOURCE_DATE_EPOCH": "0"},
        )
        return result.read_bytes()
