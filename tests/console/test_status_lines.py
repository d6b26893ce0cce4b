"""What a status line says about the volume."""

import pytest

from bootwright.console.screen import Line
from bootwright.console.status_lines import UnitState as State
from bootwright.console.status_lines import VolumeUnits, evaluate
from bootwright.core.systemd import unit_name

NAMES = VolumeUnits("docker-data", "/mnt/docker-data")
UNIT = r"systemd-cryptsetup@docker\x2ddata.service"


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (State.OPENED, "[  OK  ] Started Cryptography Setup for docker-data."),
        (State.OPENED, "[  OK  ] Finished Cryptography Setup for docker-data."),
        (State.OPENED, f"[  OK  ] Finished {UNIT} - Cryptography Setup for docker-data."),
        (State.OPENED, f"[  OK  ] Finished {UNIT}."),
        (State.OPENED, "[  OK  ] Finished systemd-cryptsetu…ryptography Setup for docker-data."),
        (State.OPENED, "[  OK  ] Finished Cryptography Setu…for docker-data."),
        (State.OPENED, "[  OK  ] Finished systemd-crypts...graphy Setup for docker-data."),
        (State.OPENED, "systemd[1]: Finished Cryptography Setup for docker-data."),
        (State.OPENED, "[  OK  ] Mounted /mnt/docker-data."),
        (State.OPENED, r"[  OK  ] Mounted mnt-docker\x2ddata.mount - /mnt/docker-data."),
        (State.OPENED, "[  OK  ] Mounted mnt-docker…[0m - /mnt/docker-data."),
        (State.OPENED, "[  OK  ] Mounted mnt-docker\\x2ddata.m…0m - /mnt/docker-data."),
        (State.OPENED, "cryptsetup: docker-data: set up successfully"),
        (State.OPENED, "Please enter passphrase for disk x: [  OK  ] Mounted /mnt/docker-data."),
        (State.ALL_OPENED, "[  OK  ] Reached target Encrypted Volumes."),
        (State.ALL_OPENED, "[  OK  ] Reached target Local Encrypted Volumes."),
        (State.ALL_OPENED, "[  OK  ] Reached target cryptsetup.…get - Local Encrypted Volumes."),
        (State.FAILED, "[FAILED] Failed to start Cryptography Setup for docker-data."),
        (State.FAILED, "[FAILED] Failed to start systemd-cr…yptography Setup for docker-data."),
        (State.FAILED, "[DEPEND] Dependency failed for /mnt/docker-data."),
        (State.FAILED, r"[DEPEND] Dependency failed for mnt-docker\x2ddata.mount - /mnt/docker-d"
         "ata."),
        (State.FAILED, "[DEPEND] Dependency failed for Cryptography Setup for docker-data."),
        (State.FAILED, "[ TIME ] Timed out waiting for device /dev/mapper/docker-data."),
        (State.FAILED, r"[ TIME ] Timed out waiting for device dev-mapper-docker\x2ddata.device."),
        (State.FAILED, r"systemd[1]: systemd-cryptsetup@docker\x2ddata.service: Failed with result "
         "'exit-code'."),
        (State.FAILED, r"systemd-cryptsetup@docker\x2ddata.service: Unit entered failed state."),
        (State.PANICKED, "Kernel panic - not syncing: VFS: Unable to mount root fs"),
        (State.EMERGENCY, "Welcome to emergency mode! After logging in, type …"),
        (State.EMERGENCY, "You are in emergency mode. After logging in, type …"),
        (State.EMERGENCY, "Give root password for maintenance"),
        (State.EMERGENCY, "Cannot open access to console, the root account is locked."),
        (State.EMERGENCY, "ALERT!  UUID=1 does not exist.  Dropping to a shell!"),
        (State.REFUSED, "systemd-cryptsetup[214]: Invalid passphrase."),
        (State.REFUSED, "Failed to activate with specified passphrase. (Passphrase incorrect?)"),
        (State.GAVE_UP, "Too many attempts; giving up."),
        (State.GAVE_UP, "Too many attempts to activate; giving up."),
        (State.REFUSED, "cryptsetup: ERROR: docker-data: cryptsetup failed, bad password or "
         "options?"),
        (State.GAVE_UP, "cryptsetup: ERROR: docker-data: maximum number of tries exceeded"),
        (State.RESTARTED, "Linux version 6.1.0-50-armmp-lpae (debian-kernel@lists.debian.org)"),
        (State.RESTARTED, "U-Boot 2024.01 (Jan 08 2024 - 15:37:48 +0000)"),
        (State.RESTARTED, "reboot: Restarting system"),
    ],
)  # fmt: skip
def test_lines_about_the_volume(report: State, text: str) -> None:
    finding = evaluate(Line(text), NAMES)
    assert finding is not None
    assert finding.report is report
    assert finding.words in text


@pytest.mark.parametrize(
    "text",
    [
        "         Starting Cryptography Setup for docker-data...",
        "         Mounting /mnt/docker-data...",
        f"         Starting {UNIT} - Cryptography Setup for docker-data...",
        f"         Starting {UNIT}...",
        "         Starting systemd-cryptsetup@docker…yptography Setup for docker-data...",
        "         Starting systemd-cryptsetup@docker…ata...",
        r"         Starting systemd-cryptsetup@docker...data.service...",
        "[  OK  ] Finished Cryptograph…data.",
        "[  OK  ] Finished …",
        "[  OK  ] Mounted /mnt/docker-data-old.",
        "[  OK  ] Mounted /srv/mnt/docker-data.",
        "[  OK  ] Unmounted /mnt/docker-data.",
        "[  OK  ] Stopped Cryptography Setup for docker-data.",
        "[  OK  ] Found device /dev/mapper/docker-data.",
        "[  OK  ] Reached target Local File Systems.",
        "[  OK  ] Reached target Remote Encrypted Volumes.",
        "[DEPEND] Dependency failed for Local File Systems.",
        "[ TIME ] Timed out waiting for device /dev/mapper/swap.",
        "cryptsetup: my-docker-data: set up successfully",
        "(1 of 2) Job dev-mapper-docker\\x2dd…vice/start running (4s / no limit)",
        "",
    ],
)
def test_other_lines(text: str) -> None:
    assert evaluate(Line(text), NAMES) is None


@pytest.mark.parametrize(
    "text",
    [
        "         Starting Cryptography Setup for swap...",
        "         Starting systemd-cryptsetup@swap.service - Cryptography Setup for swap...",
        r"         Starting systemd-cryptsetup@docker\x2ddata\x2d2.service...",
        "[  OK  ] Started Cryptography Setup for swap.",
        "[  OK  ] Finished Cryptography Setup for docker-data-2.",
        "[  OK  ] Finished systemd-cryptsetu…yptography Setup for old-docker-data.",
        "[FAILED] Failed to start Cryptography Setup for swap.",
        "cryptsetup: ERROR: swap: cryptsetup failed, bad password or options?",
        "cryptsetup (swap): cryptsetup failed, bad password or options?",
        "cryptsetup: ERROR: swap: maximum number of tries exceeded",
    ],
)
def test_lines_about_another_volume(text: str) -> None:
    finding = evaluate(Line(text), NAMES)
    assert finding is not None
    assert finding.report is State.OTHER_VOLUME


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cryptsetup: ERROR: docker-data: cryptsetup failed, bad password or options?", True),
        ("cryptsetup (docker-data): cryptsetup failed, bad password or options?", True),
        ("cryptsetup: cryptsetup failed, bad password or options?", False),
        ("Failed to activate with specified passphrase. (Passphrase incorrect?)", False),
    ],
)
def test_a_report_of_a_wrong_passphrase_may_name_the_volume(text: str, named: bool) -> None:
    finding = evaluate(Line(text), NAMES)
    assert finding is not None
    assert (finding.report, finding.named) == (State.REFUSED, named)


def test_unit_names_are_escaped_as_systemd_does() -> None:
    assert unit_name("docker-data") == r"docker\x2ddata"
    assert unit_name("mnt/docker-data") == r"mnt-docker\x2ddata"
    assert unit_name(".hidden") == r"\x2ehidden"
    assert unit_name("a b") == r"a\x20b"
