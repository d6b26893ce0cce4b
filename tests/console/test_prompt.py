"""Which text asks for a passphrase, and whose."""

import pytest

from bootwright.console.prompt import find_question

LOCK = "\U0001f510 "
HINT = "(press TAB for no echo) "

NAMES = [
    "docker-data",
    "docker-data on /mnt/docker-data",
    "SanDisk_SD (docker-data)",
    "SD card: 32 GB (docker-data) on /mnt/docker-data",
    "Card (old) (docker-data) on /mnt/docker-data",
]
FORMS = [
    "Please enter passphrase for disk {}! ",
    "Please enter passphrase for disk {}: ",
    "Please enter passphrase for disk {}: " + HINT,
    LOCK + "Please enter passphrase for disk {}: " + HINT,
    LOCK + "Please enter passphrase or recovery key for disk {}: " + HINT,
    "Please enter recovery key for disk {}: ",
    "StartinPlease enter passphrase for disk {}! ",
    "Please unlock disk {}: ",
    "Please enter passphrase for disk other: Please enter passphrase for disk {}: ",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_a_question_of_every_version(form: str, name: str) -> None:
    question = find_question(form.format(name))
    assert question is not None
    assert (question.volume, question.verification) == ("docker-data", False)
    assert question.systemd == ("unlock" not in form)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        "Please enter passphrase for disk {}! (verification) ",
        "Please enter passphrase for disk {} (verification): ",
        LOCK + "Please enter passphrase for disk {} (verification): " + HINT,
    ],
)
def test_a_question_for_a_new_passphrase(form: str, name: str) -> None:
    question = find_question(form.format(name))
    assert question is not None
    assert (question.volume, question.verification) == ("docker-data", True)


@pytest.mark.parametrize(
    ("name", "volume"),
    [
        ("swap", "swap"),
        ("docker-data-2", "docker-data-2"),
        ("old-docker-data on /mnt/docker-data", "old-docker-data"),
        ("docker-data (backup) on /mnt/backup", "backup"),
        ("LABEL (swap)", "swap"),
    ],
)
def test_a_question_for_another_disk(name: str, volume: str) -> None:
    question = find_question(f"Please enter passphrase for disk {name}: {HINT}")
    assert question is not None
    assert question.volume == volume


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please enter passphrase for disk docker-data",
        "Please enter passphrase for disk docker-data:",
        "Please enter passphrase for disk docker-data on /mnt",
        "Please enter passphrase for disk docker-data: [  OK  ] Started x. ",
        "Password entry required for 'Please enter passphrase for disk docker-data:' (PID 3). ",
        "COMMAND=systemd-ask-password 'Please enter passphrase for disk docker-data: ",
        "Please enter password with the systemd-tty-ask-password-agent tool: ",
        "spike login: ",
        "Password: ",
        "Enter passphrase for key '/root/.ssh/id': ",
    ],
)
def test_what_is_no_question(text: str) -> None:
    assert find_question(text) is None
