"""Known-hosts files as OpenSSH reads them."""

import subprocess
from pathlib import Path

import pytest

from bootwright.remote.known_hosts import fingerprint, known_hosts_line, known_keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYXGt1ajHadN8XR8BaqrQlqiAEEqhnEOe1HiFPj+NZq"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def test_the_fingerprint_is_the_one_that_openssh_shows(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{KEY} comment\n")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    )
    assert fingerprint(KEY) == shown.stdout.split()[1]


def test_what_we_write_openssh_finds_and_what_it_hashes_we_find(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(known_hosts_line("Board", KEY) + known_hosts_line("other", OTHER))
    argv = ["ssh-keygen", "-f", str(path)]
    found = subprocess.run([*argv, "-F", "board"], capture_output=True, text=True, check=True)
    assert KEY in found.stdout
    subprocess.run([*argv, "-q", "-H"], capture_output=True, check=True)
    text = path.read_text()
    assert "oard" not in text
    assert known_keys(text, "BOARD").accepted == (KEY,)
    assert known_keys(text, "other").accepted == (OTHER,)
    assert known_keys(text, "third").accepted == ()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a remark",
        "board",
        "board ssh-ed25519",
        f"boards {KEY}",
        f"b* {KEY}",
        f"|1|nonsense {KEY}",
        f"|1|é|= {KEY}",
        f"@cert-authority board {KEY}",
    ],
)
def test_lines_that_say_nothing_of_a_board(line: str) -> None:
    assert known_keys(f"{line}\n", "board").accepted == ()


def test_several_names_and_a_revoked_key() -> None:
    found = known_keys(f"10.0.0.1,board\t{KEY} remark\n@revoked board {OTHER}\n", "board")
    assert (found.accepted, found.revoked) == ((KEY,), (OTHER,))
