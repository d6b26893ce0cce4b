"""The unit for the operator's machine, as systemd itself reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootwright.core.errors import InputError
from bootwright.core.io.secret_input import read_passphrase
from bootwright.core.paths import checkout
from tests.support.scripted_console import SECRET

pytestmark = pytest.mark.integration

UNIT = checkout() / "scripts" / "bootwright-unlock@.service"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not here: it comes with systemd",
)
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # Only the program has another place here.
    unit.write_text(UNIT.read_text().replace("/opt/bootwright/.venv/bin/inv", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_options_of_the_service_exist() -> None:
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart="))
    shown = subprocess.run(
        [Path(sys.executable).parent / "inv", "--help", "unlock"],
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = [word for word in line.split() if word.startswith("--")]
    assert options == ["--watch", "--passphrase-file"]
    for option in options:
        assert option in shown


def test_a_credential_of_systemd_may_carry_an_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group bits are the list's mask; the folder is closed to others."""
    from bootwright.core.config import load_config

    file = tmp_path / "passphrase"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o440)
    target = load_config(checkout(), "odroid").target
    with pytest.raises(InputError, match="chmod 600"):
        read_passphrase(target, str(file), twice=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_passphrase(target, str(file), twice=False).reveal() == SECRET
