"""Writing a file whole: what is there afterwards, and what a failure leaves."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bootwright.core.io.fsync import move_into_place, replace_file
from bootwright.core.paths import checkout

pytestmark = pytest.mark.integration


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_and_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for name, content, wanted in (("a", "é\n", None), ("b", b"\xff", 0o600), ("c", "", 0o666)):
            replace_file(tmp_path / name, content, wanted)
            replace_file(tmp_path / name, content, wanted)
    finally:
        os.umask(before)
    assert [(path.read_bytes(), mode(path)) for path in sorted(tmp_path.iterdir())] == [
        *(("é\n".encode(), 0o640), (b"\xff", 0o600), (b"", 0o666)),
    ]


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("old")
    (tmp_path / "key").chmod(0o644)
    replace_file(tmp_path / "key", "new", 0o600)
    assert mode(tmp_path / "key") == 0o600


def test_links_and_devices_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("folder/file")
    replace_file(link, "x")
    assert link.is_symlink() and (tmp_path / "folder" / "file").read_text() == "x"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace_file(pipe, "x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_failure_leaves_the_old_content_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(tmp_path / "file", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "file", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, path, synced = tmp_path / "draft", tmp_path / "file", []
    draft.write_text("new")
    path.write_text("old")

    def fsync(descriptor: int) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((file, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    move_into_place(draft, path)
    assert synced == [(draft, "old"), (tmp_path, "new")]
    synced.clear()
    replace_file(path, "newer")
    assert [(file.parent, text) for file, text in synced] == [
        (tmp_path, "new"),
        (tmp_path.parent, "newer"),
    ]


def test_a_reader_never_sees_incomplete_content(tmp_path: Path) -> None:
    file, done = tmp_path / "file", threading.Event()
    texts = {"a" * 100_000, "b" * 200_000}
    replace_file(file, min(texts))

    def write() -> None:
        for _ in range(30):
            for text in texts:
                replace_file(file, text)
        done.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while not done.is_set():
        assert file.read_text() in texts
    for writer in writers:
        writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_kill_in_the_middle_leaves_the_old_content(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from bootwright.core.io.fsync import replace_file\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(Path(sys.argv[1]), 'new')\n"
    )
    (tmp_path / "file").write_text("old")
    argv = [sys.executable, "-c", script, str(tmp_path / "file")]
    assert subprocess.run(argv, cwd=checkout()).returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"
