"""What a board reports of its volume: answers captured from a booted Debian card."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.secret import without_passphrase
from bootwright.remote.sections import parse_sections
from bootwright.volume.facts import Crypttab, Unit, VolumeFacts, VolumeLayout, volume_facts
from bootwright.volume.luks_dump import Keyslot
from bootwright.volume.status_result import status_of
from bootwright.volume.unlock_ssh_plan import (
    UnlockMethod,
    answer_script,
    decide,
    layout_of,
    open_script,
    outcome,
    unfinished,
)
from tests.support.schemas import check_broken_documents, check_document

CASES = Path(__file__).parent.parent / "cases" / "volume"
LAYOUT = layout_of(Endpoint("box"))
UUID = "edd63331-4472-40ff-be7d-3db39fbd0219"


def text(name: str) -> str:
    return (CASES / f"{name}.txt").read_text(encoding="utf-8")


def facts(name: str, *changes: tuple[str, str]) -> VolumeFacts:
    """Return the facts of a captured answer, with ``changes`` made to it."""
    answer = text(name)
    for old, new in changes:
        assert old in answer
        answer = answer.replace(old, new)
    return volume_facts(parse_sections(answer))


def test_a_locked_volume() -> None:
    found = facts("locked")
    assert (found.hostname, found.kernel) == ("box", "6.1.0-50-armmp-lpae armv7l")
    assert found.crypttab == Crypttab(f"UUID={UUID}", ("luks", "tries=3", "noauto"))
    assert found.device == "/dev/vda2"
    assert found.header is not None
    assert found.header.uuid == UUID
    assert found.header.cipher == "xchacha12,aes-adiantum-plain64"
    assert found.header.sector_size == 4096
    assert found.header.keyslots == (Keyslot(0, "argon2id", 65536, 4, 2),)
    assert found.mapping is None
    assert found.mounts == {}
    assert found.question_for("docker-data") is None
    assert not found.unit("docker.service").installed
    assert found.unit(LAYOUT.crypt_unit) == Unit("loaded", "inactive", "dead")
    assert decide(found, LAYOUT) is UnlockMethod.OPEN


def test_an_open_volume_in_use() -> None:
    found = facts("open")
    assert found.mapping is not None
    assert found.mapping.luks_uuid == UUID
    assert all(found.mounted(path) for path in (LAYOUT.mount, *LAYOUT.binds))
    assert found.use is not None
    assert found.use.size > found.use.available > 900 * 1024 * 1024
    assert unfinished(found, LAYOUT) == []
    assert decide(found, LAYOUT) is UnlockMethod.NOTHING


def test_a_question_that_waits() -> None:
    found = facts("asks")
    question = found.question_for("docker-data")
    assert question is not None
    assert question.message == "Please enter passphrase for disk docker-data on /mnt/docker-data:"
    assert question.id == f"cryptsetup:/dev/disk/by-uuid/{UUID}"
    assert decide(found, LAYOUT) is UnlockMethod.ANSWER
    script = answer_script(found, LAYOUT, question)
    assert f"question_pid={question.pid}\nquestion_socket={question.socket}\n" in script


ID = f"Id=cryptsetup:/dev/disk/by-uuid/{UUID}"
HUGE = "9" * 400
MESSAGE = "Message=Please enter passphrase for disk docker-data on /mnt/docker-data:"


@pytest.mark.parametrize(
    ("identity", "message", "ours"),
    [
        (ID, "Message=Bitte das Passwort:", True),
        ("Id=cryptsetup:/dev/vda2", "Message=?", True),
        ("Id=cryptsetup:/dev/vdb", "Message=Please enter passphrase for disk other:", False),
        ("X=", "Message=Please enter passphrase for disk Card (docker-data)!", True),
        ("X=", "Message=Please enter passphrase for disk (docker-data) on /mnt/x:", True),
        ("X=", "Message=Please enter passphrase for disk docker-data2:", False),
        ("X=", "Message=Please enter passphrase for disk my-docker-data:", False),
        ("Id=luks-ask:root", "Message=Password for root:", False),
    ],
)
def test_whose_question_it_is(identity: str, message: str, ours: bool) -> None:
    found = facts("asks", (ID, identity), (MESSAGE, message))
    assert (found.question_for("docker-data") is not None) == ours


def test_a_question_that_is_over_does_not_wait() -> None:
    found = facts("asks", ("NotAfter=0", "NotAfter=1000000"))
    assert found.question_for("docker-data") is None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("locked", ("== crypttab", "== xx"), "has no entry docker-data"),
        ("locked", ("== device", "== xx"), f"has no device UUID={UUID}"),
        (
            "locked",
            ("== header", "== header-error\n|Device /dev/vda2 is not a valid LUKS device.\n== xx"),
            "no intact LUKS2 header; cryptsetup: Device /dev/vda2 is not a valid LUKS device",
        ),
        ("locked", ("|luks,tries=3", "|plain,tries=3"), "has the option plain"),
        ("locked", ("== missing", "== missing\n|cryptsetup"), "the board has no cryptsetup"),
        (
            "open",
            ("CRYPT-LUKS2-edd63331", "CRYPT-LUKS2-00000000"),
            "another volume .00000000-4472-40ff-be7d-3db39fbd0219. is open under the name",
        ),
    ],
)
def test_what_cannot_be_opened(name: str, change: tuple[str, str], message: str) -> None:
    with pytest.raises(FailedError, match=message):
        decide(facts(name, change), LAYOUT)


def test_what_is_mounted_from_elsewhere_is_not_mounted() -> None:
    found = facts("open", (" 253:0 /var/lib/docker ", " 8:1 /var/lib/docker "))
    assert unfinished(found, LAYOUT) == ["/var/lib/docker is not mounted from it"]
    assert decide(found, LAYOUT) is UnlockMethod.FINISH


def test_a_docker_that_is_installed_has_to_run() -> None:
    states = "LoadState={}\n|ActiveState=inactive\n|SubState=dead"
    found = facts("open", (states.format("not-found"), states.format("loaded")))
    assert "docker.service is inactive (dead)" in unfinished(found, LAYOUT)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("luks,tries=3,noauto", ()),
        ("luks,discard,noauto", ("--allow-discards",)),
        (
            "luks,no-read-workqueue,no-write-workqueue,discard",
            ("--allow-discards", "--perf-no_read_workqueue", "--perf-no_write_workqueue"),
        ),
    ],
)
def test_crypttabs_options_are_honoured(options: str, flags: tuple[str, ...]) -> None:
    script = open_script(facts("locked", ("|luks,tries=3,noauto", f"|{options}")), LAYOUT)
    # The script, with a function in place of the program that prints its arguments.
    stub = "cryptsetup() { printf '%s\\n' \"$@\"; return 1; }\n"
    done = subprocess.run(["sh", "-c", stub + script], stdout=subprocess.PIPE, check=True)
    opened = parse_sections(done.stdout.decode())[0]
    assert (opened.name, opened.line(0)) == ("open", "1")
    first = ("open", "--type", "luks", "--key-file=-")
    assert opened.lines[1:] == (*first, *flags, "--", "/dev/vda2", "docker-data")


def test_a_name_that_the_shell_could_take_for_more() -> None:
    layout = VolumeLayout("a b$(x)", "/mnt/a b", (), ())
    script = open_script(facts("locked"), layout)
    assert "volume='a b$(x)'\n" in script
    assert r"systemd-cryptsetup@a\x20b\x24\x28x\x29.service" in script


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "cut short"),
        ("== host\n|box\n", "cut short"),
        ("== host\n|box\n== end\n", "cannot be understood"),
        ("no shell for you\n== end\n", "cannot be understood"),
        ("== host\n|b\n|k\n|99999999999999999\n|1 1\n\n== end\n", "cannot be understood"),
        ("== host\n|b\n|k\n|1\n|nan 1\n\n== end\n", "cannot be understood"),
        ("== host\n|b\n|k\n|1\n|1e999 1\n\n== end\n", "cannot be understood"),
        (f"== host\n|b\n|k\n|{HUGE}\n|1 1\n\n== end\n", "cannot be understood"),
    ],
)
def test_an_answer_that_is_none(answer: str, message: str) -> None:
    with pytest.raises(FailedError, match=message):
        volume_facts(parse_sections(answer))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('|  "keyslots":{', '|  "keyslots":['),
        ('"sector_size":4096', '"sector_size":null'),
        ('"memory":65536', '"memory":{}'),
        ('|  "segments":{', "|" + "[" * 100_000),
        ('"memory":65536', '"memory":1e999'),
        ('"memory":65536', f'"memory":{HUGE}'),
        ('"time":4', f'"time":{HUGE}'),
        ('"time":4', '"time":-1'),
        ('"sector_size":4096', f'"sector_size":{HUGE}'),
    ],
)
def test_a_hostile_header(old: str, new: str) -> None:
    with pytest.raises(FailedError, match="cannot be understood"):
        facts("locked", (old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("asks", "NotAfter=0", f"NotAfter={HUGE}"),
        ("open", "|/dev/mapper/docker", f"|x {HUGE} 1 1 1% /\n== x\n|"),
    ],
)
def test_numbers_that_are_far_too_large(name: str, old: str, new: str) -> None:
    with pytest.raises(FailedError, match=r"cannot be understood: 9{40} is not between 0 and"):
        facts(name, (old, new))


def test_text_that_json_makes_is_harmless() -> None:
    escape = "\\u001b]0;x\\u202e"
    found = facts(
        "locked", ('"xchacha12', f'"{escape}xchacha12'), ('"argon2id', f'"{escape}argon2id')
    )
    text = "\n".join(status_of("box", found, LAYOUT).lines())
    assert "�]0;x�xchacha12,aes-adiantum-plain64" in text
    assert "�]0;x�argon2id, 64.0 MiB" in text
    assert "\x1b" not in text


def test_a_long_message_is_looked_at_in_no_time() -> None:
    found = facts("asks", (ID, "X="), (MESSAGE, "Message=" + "disk " * 100_000))
    begin = time.monotonic()
    assert found.question_for("docker-data") is None
    assert time.monotonic() - begin < 1


def test_a_socket_that_looks_like_another_value_stays_in_its_quotes() -> None:
    found = facts("asks")
    question = found.question_for("docker-data")
    assert question is not None
    script = answer_script(found, LAYOUT, replace(question, socket="a @address@; reboot #"))
    assert "question_socket='a @address@; reboot #'\n" in script


def test_a_passphrase_in_a_boards_words() -> None:
    problem = "x.mount did not start; its journal ends in:\n  no e1 here, nor secret1"
    assert without_passphrase(problem, "secret1").endswith("no e1 here, nor ***")
    short = without_passphrase(problem, "e1")
    assert short.startswith("x.mount did not start; its journal ends in (")
    assert "e1" not in short
    assert without_passphrase(problem, "zz") == problem


def test_every_damage_is_an_error_or_facts_never_a_traceback() -> None:
    for name in ("locked", "open", "asks"):
        answer = text(name)
        rows = answer.splitlines()
        for number in range(len(rows)):
            damaged = [*rows[:number], "|\x00 garbage", *rows[number + 1 :]]
            for broken in ("\n".join(damaged), "\n".join(rows[:number])):
                try:
                    found = volume_facts(parse_sections(broken))
                    status = status_of("box", found, LAYOUT)
                    check_document("status", status.document())
                    status.lines()
                except FailedError:
                    continue


def test_a_board_cannot_play_with_the_terminal() -> None:
    (section,) = parse_sections("== a\n|x\x1b[2Jy\x9b\n|a\u202eb\u2028c\td\n== end\n")
    assert section.lines == ("x�[2Jy�", "a�b�c d")
    with pytest.raises(FailedError) as caught:
        parse_sections("== a\n|x\x1b[2J\u202e\n")
    assert str(caught.value).isprintable()


def test_what_a_file_holds_is_no_section() -> None:
    (section,) = parse_sections("welcome!\n\n== a\n|== end\n|== b\n|\n== end\n")
    assert section.lines == ("== end", "== b", "")


def answer_of(*sections: tuple[str, str]) -> str:
    body = "".join(
        f"\n== {name}\n" + "".join(f"|{line}\n" for line in content.split("\n"))
        for name, content in sections
    )
    return f"{body}\n== end\n"


def test_how_opening_ended() -> None:
    def end(*sections: tuple[str, str]) -> object:
        ended = outcome(parse_sections(answer_of(*sections)))
        return (ended.opened, ended.wrong, ended.gone, ended.problem)

    assert end(("open", "2\nNo key available.")) == (False, True, False, "")
    assert end(("open", "0\n")) == (True, False, False, "")
    # Somebody else was faster.
    assert end(("open", "5\nDevice exists."), ("mapping", "x")) == (True, False, False, "")
    assert "in use" in str(end(("open", "5\nDevice is in use.")))
    assert "cryptsetup ended with 1: no memory" in str(end(("open", "1\nno memory")))
    assert end(("answer", "0\nasks-again")) == (False, True, False, "")
    assert end(("answer", "0\ngone")) == (False, False, True, "")
    assert end(("answer", "1\n\nno such socket")) == (False, False, True, "")
    failed = end(("open", "0\n"), ("start", "a.mount\n1\nFailed."), ("journal", "wrong fs\n"))
    assert failed == (True, False, False, "a.mount did not start; its journal ends in:\n  wrong fs")


def test_the_document_of_a_status() -> None:
    for name in ("locked", "open", "asks"):
        document = check_document("status", status_of("box", facts(name), LAYOUT).document())
        check_broken_documents("status", document)
    assert document["mount"]["mounted"] is False
    opened = check_document("status", status_of("box", facts("open"), LAYOUT).document())
    assert opened["volume"]["state"] == "open"
    assert opened["mount"]["size"] > opened["mount"]["used"] > 0


def test_the_lines_of_a_status() -> None:
    shown = status_of("box", facts("locked"), LAYOUT).lines()
    assert shown[:2] == [
        "board                box, 6.1.0-50-armmp-lpae armv7l",
        f"started              {shown[1][21:]}",
    ]
    assert "volume               docker-data: locked" in shown
    assert "keyslot 0            argon2id, 64.0 MiB, 4 passes, 2 threads" in shown
    assert "/mnt/docker-data     not mounted" in shown
    assert "docker               not installed" in shown
    assert shown[-1] == "next                 inv unlock box"
    opened = status_of("box", facts("open"), LAYOUT).lines()
    assert "volume               docker-data: open" in opened
    assert any(line.endswith(" free") for line in opened)
    assert not any(line.startswith("next") for line in opened)
    asks = status_of("box", facts("asks"), LAYOUT).lines()
    assert any("a program on the board asks for its passphrase" in line for line in asks)
