"""The Debian root file system: how a build is run, with a stand-in for mmdebstrap."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bootwright.core import paths
from bootwright.core.board import Board, load_board
from bootwright.core.errors import FailedError, InputError
from bootwright.rootfs.debian_plan import Recipe, pins, tar_name
from bootwright.rootfs.io import debian
from tests.support.debian_recipe import recipe_for
from tests.support.reporter import Notes

pytestmark = pytest.mark.integration

MIRROR = "http://mirror.test/debian"


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board(paths.checkout() / "board", "odroid-xu3")


# It writes its sources into the tarball; for a suite in $FAIL_INDEX it prints apt's error.
FAKE = """\
#!/bin/sh
echo run >> "$TMPDIR/runs"
for argument in "$@"; do
    case $argument in
        *.tmp) target=$argument ;;
        deb\\ *" $FAIL_INDEX "*)
            echo "Err:6 http://mirror.test/debian $FAIL_INDEX/main armhf Packages"
            echo "  File has unexpected size (1 != 2). Mirror sync in progress? [IP: 1.2.3.4 80]"
            echo "E: mmdebstrap failed to run"
            exit 25 ;;
    esac
done
echo "bootwright: Pretend"
eval "$EXTRA"
printf '%s\\n' "$@" | grep '^deb ' > "$target"
"""


class Fake:
    """Replaces mmdebstrap by :data:`FAKE`; child processes get only TMPDIR from the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def says(self, fail_index: str = "none", extra: str = ":") -> None:
        script = self.folder / "mmdebstrap"
        settings = f"FAIL_INDEX={fail_index}\nEXTRA='{extra}'\n"
        script.write_text(FAKE.replace("\n", f"\n{settings}", 1))
        script.chmod(0o755)

    @property
    def runs(self) -> int:
        file = self.folder / "runs"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "keys.gpg").touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(debian, "_mode", lambda: "root")
    monkeypatch.setattr(debian, "KEYRING", str(folder / "keys.gpg"))
    monkeypatch.setattr(debian, "RETRY_PAUSES_S", (0.0, 0.0))
    fake = Fake(folder)
    fake.says()
    return fake


@pytest.fixture
def recipe(board: Board) -> Recipe:
    return recipe_for(board, MIRROR)


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix not in (".lock", ".log"))


def test_a_build_is_cached(fake: Fake, recipe: Recipe, tmp_path: Path) -> None:
    cache, listener = tmp_path / "cache", Notes()
    tarball = debian.build(recipe, cache, listener)
    assert tarball == cache / tar_name(recipe)
    assert debian.build(recipe, cache, listener) == tarball
    assert fake.runs == 1
    assert listener.steps == ["Fetch Debian's package index", "Pretend"]
    assert leftovers(cache) == [tarball.name]
    log = tarball.with_suffix(".log").read_text()
    assert log.startswith("mmdebstrap --mode=root ")
    assert "bookworm-security" in tarball.read_text()


def test_a_failed_build_leaves_nothing_and_shows_the_end_of_the_log(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fake.says(extra='echo half > "$target"; seq 100; echo E: no such package; exit 3')
    with pytest.raises(FailedError) as caught:
        debian.build(recipe, cache, Notes())
    message = str(caught.value)
    assert "exit 3" in message
    assert "E: no such package" in message
    assert "\n  50\n" not in message
    assert str(cache / f"{tar_name(recipe).removesuffix('.tar')}.log") in message
    assert leftovers(cache) == []
    fake.says()
    debian.build(recipe, cache, Notes())
    assert fake.runs == 2


def test_the_index_of_the_suite_itself_is_required(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    fake.says(fail_index="bookworm")
    listener = Notes()
    with pytest.raises(FailedError, match=r"Debian bookworm cannot be fetched: bookworm: File has"):
        debian.build(recipe, tmp_path / "cache", listener)
    assert fake.runs == 3
    assert len(listener.warnings) == 2
    assert leftovers(tmp_path / "cache") == []


def test_the_index_of_the_suite_with_the_boot_loader_is_required(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    # The stand-in's output for a suite that mmdebstrap gets in a file, not as an argument.
    fake.says(
        extra='echo "Err:2 http://mirror.test/debian trixie InRelease"; echo "  No such host";'
        " exit 25"
    )
    with pytest.raises(FailedError, match="Debian trixie cannot be fetched: trixie: No such host"):
        debian.build(recipe, tmp_path / "cache", Notes())
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "output",
    [
        "Err:2 http://mirror.test/debian trixie Release\n  404  Not Found [IP: 1.2.3.4 80]",
        "Err:2 file:/srv/debian trixie Release\n  File not found - /srv/debian/Release",
        "E: Unable to locate package u-boot-exynos-binaries",
        "E: Package 'u-boot-exynos-binaries' has no installation candidate",
    ],
)
def test_a_mirror_without_the_suite_with_the_boot_loader_is_named_at_once(
    fake: Fake, recipe: Recipe, tmp_path: Path, output: str
) -> None:
    (fake.folder / "output").write_text(f"{output}\n")
    fake.says(extra='cat "$TMPDIR/output"; exit 25')
    with pytest.raises(FailedError) as caught:
        debian.build(recipe, tmp_path / "cache", Notes())
    assert str(caught.value).startswith(
        "the board needs u-boot-exynos-binaries from trixie/contrib (board.toml, other_suites);"
        " this mirror does not have it: set `mirror` in bootwright.toml to one that has both"
        " suites, bookworm and trixie."
    )
    assert fake.runs == 1
    assert leftovers(tmp_path / "cache") == []


def test_an_index_that_the_mirror_does_not_have_is_not_tried_again(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    (fake.folder / "output").write_text(
        "Err:2 http://mirror.test/debian bookworm Release\n  404  Not Found [IP: 1.2.3.4 80]\n"
    )
    fake.says(extra='cat "$TMPDIR/output"; exit 25')
    with pytest.raises(FailedError, match="Debian bookworm cannot be fetched: bookworm: 404"):
        debian.build(recipe, tmp_path / "cache", Notes())
    assert fake.runs == 1


def test_the_name_of_a_tarball_without_the_security_suite(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    cache, listener = tmp_path / "cache", Notes()
    fake.says(fail_index="bookworm-security")
    tarball = debian.build(recipe, cache, listener)
    assert tarball.name == tar_name(recipe, ["bookworm-security"])
    assert "bookworm-updates" in tarball.read_text()
    assert "bookworm-security" not in tarball.read_text()
    assert "building without bookworm-security" in listener.warnings[-1]
    assert fake.runs == 4

    # It is used for a day, each time with a warning, even if the mirror works again.
    fake.says()
    assert debian.build(recipe, cache, listener) == tarball
    assert fake.runs == 4
    assert "lacks a suite" in listener.warnings[-1]

    yesterday = time.time() - debian.INCOMPLETE_MAX_AGE_S - 1
    os.utime(tarball, (yesterday, yesterday))
    assert debian.build(recipe, cache, listener) == cache / tar_name(recipe)
    assert leftovers(cache) == [tar_name(recipe)]


def test_old_tarballs_are_removed_and_the_age_of_a_used_one_is_noted(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    cache, listener = tmp_path / "cache", Notes()
    cache.mkdir()
    for number in range(1, 5):
        other = cache / f"debian-{number}.tar"
        other.touch()
        os.utime(other, (number, number))
    tarball = debian.build(recipe, cache, listener)
    assert leftovers(cache) == sorted(["debian-3.tar", "debian-4.tar", tarball.name])
    assert listener.notes == []
    old = time.time() - debian.OLD_AGE_S - 1
    os.utime(tarball, (old, old))
    debian.build(recipe, cache, listener)
    assert "30 days ago" in listener.notes[0]


class Releasing(Notes):
    """Lets the other run go on as soon as this one says that it waits."""

    def __init__(self, go: Path) -> None:
        super().__init__()
        self.go = go

    def note(self, text: str) -> None:
        super().note(text)
        self.go.touch()


def test_a_second_run_waits_and_uses_what_the_first_one_built(
    fake: Fake, recipe: Recipe, tmp_path: Path
) -> None:
    fake.says(extra='touch "$TMPDIR/started"; while ! [ -e "$TMPDIR/go" ]; do sleep 0.1; done')
    first = threading.Thread(target=debian.build, args=(recipe, tmp_path / "cache", Notes()))
    first.start()
    try:
        wait_for(fake.folder / "started")
        listener = Releasing(fake.folder / "go")
        tarball = debian.build(recipe, tmp_path / "cache", listener)
    finally:
        (fake.folder / "go").touch()
        first.join()
    assert fake.runs == 1
    assert tarball.is_file()
    assert [note.partition(" (")[0] for note in listener.notes] == [
        f"another run is building {tarball.name}; waiting for it to end"
    ]


INTERRUPTED = """
import sys
from pathlib import Path
from bootwright.rootfs.io import debian
from bootwright.core.report import TextReporter
from tests.rootfs.io.test_debian import MIRROR, load_board, paths, recipe_for
debian._mode = lambda: "root"
debian.KEYRING = sys.executable
board = load_board(paths.checkout() / "board", "odroid-xu3")
debian.build(recipe_for(board, MIRROR), Path(sys.argv[1]), TextReporter())
"""


def test_an_interrupt_ends_mmdebstrap_and_leaves_nothing(fake: Fake, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    fake.says(
        extra='echo half > "$target"; trap "touch $TMPDIR/tidied; exit 1" TERM;'
        ' touch "$TMPDIR/started"; while :; do sleep 0.1; done'
    )
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(cache)],
        cwd=paths.checkout(),
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(paths.checkout())},
    )
    wait_for(fake.folder / "started")
    child.send_signal(2)
    _, message = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in message
    assert (fake.folder / "tidied").exists()
    assert leftovers(cache) == []


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def test_without_debian_sources_and_mirror_the_build_fails(
    fake: Fake, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_APT", tmp_path / "apt")
    with pytest.raises(InputError, match=r"set `mirror` in bootwright\.toml"):
        debian.build(recipe_for(board), tmp_path / "cache", Notes())


def test_apt_sources_without_security_are_warned_about(
    fake: Fake, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_APT", tmp_path)
    (tmp_path / "sources.list").write_text(f"deb {MIRROR} bookworm main\n")
    listener = Notes()
    debian.build(recipe_for(board), tmp_path / "cache", listener)
    assert [re.search(r"lack (\S+),", warning)[1] for warning in listener.warnings] == [  # type: ignore[index]
        "bookworm-updates",
        "bookworm-security",
    ]


def test_missing_keys_and_tools_are_an_error_with_their_names(
    fake: Fake, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "KEYRING", str(tmp_path / "none.gpg"))
    with pytest.raises(FailedError, match="package 'debian-archive-keyring'"):
        debian.build(recipe, tmp_path / "cache", Notes())
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda tool, path: None)
    with pytest.raises(FailedError, match="the tool 'mmdebstrap' is missing"):
        debian.build(recipe, tmp_path / "cache", Notes())


def test_disabled_binfmt_is_an_error_with_the_commands(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool, path: tool)
    monkeypatch.setattr(debian, "_BINFMT", tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(FailedError, match="update-binfmts --enable qemu-arm"):
        debian.build(recipe, tmp_path / "cache", Notes())


def test_apt_takes_only_the_listed_packages_from_another_suite(
    recipe: Recipe, tmp_path: Path
) -> None:
    # Two suites in a folder; the other one has newer versions of packages of the first.
    versions = {
        "bookworm": {"sudo": "1"},
        "trixie": {"sudo": "2", "u-boot-exynos-binaries": "2025.01", "extra": "3"},
    }
    for suite, packages in versions.items():
        component = "main" if suite == "bookworm" else "contrib"
        folder = tmp_path / "archive" / "dists" / suite / component / "binary-armhf"
        folder.mkdir(parents=True)
        index = "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: armhf\nFilename: x\nSize: 1\n"
            f"SHA256: {'0' * 64}\n\n"
            for name, version in packages.items()
        ).encode()
        (folder / "Packages").write_bytes(index)
        entry = (
            f"{hashlib.sha256(index).hexdigest()} {len(index)} {component}/binary-armhf/Packages"
        )
        (folder.parents[1] / "Release").write_text(
            f"Codename: {suite}\nSuite: {suite}\nComponents: {component}\nArchitectures: armhf\n"
            f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {entry}\n"
        )
    for name in ("etc/preferences.d", "lists/partial", "cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/sources.list").write_text(
        f"deb [trusted=yes] file:{tmp_path}/archive bookworm main\n"
        f"deb [trusted=yes] file:{tmp_path}/archive trixie contrib\n"
    )
    (tmp_path / "etc/preferences.d/bootwright-build").write_text(pins(recipe))
    (tmp_path / "status").touch()
    settings = {
        "Dir::Etc": tmp_path / "etc",
        "Dir::State::lists": tmp_path / "lists",
        "Dir::State::status": tmp_path / "status",
        "Dir::Cache": tmp_path / "cache",
        "APT::Architecture": "armhf",
        "APT::Architectures": "armhf",
        "APT::Sandbox::User": "",
    }
    options = [f"-o{key}={value}" for key, value in settings.items()]
    subprocess.run(["apt-get", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run(
        ["apt-cache", *options, "policy", "sudo", "u-boot-exynos-binaries", "extra"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert re.findall(r"Candidate: (.*)", shown) == ["1", "2025.01", "(none)"]
