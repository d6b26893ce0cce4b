"""Who is asked for what, with one board and with several, of which one may fail."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bootwright.core import paths
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import BootwrightError, FailedError, InputError, RefusedError
from bootwright.core.report import Reporter
from bootwright.core.secret import Secret
from bootwright.provision import command
from bootwright.provision.command import ProvisionRequest, provision_targets
from bootwright.provision.desired_state import DesiredState
from bootwright.provision.one_board import Credentials, ProvisionOptions
from bootwright.provision.result import ProvisionResult
from bootwright.remote.sudo import SudoPasswordError

CHECKOUT = paths.checkout()

TARGETS = "".join(
    f'[targets.{name}]\nboard = "odroid-xu3"\nrootfs = "debian"\nhost = "192.0.2.{number}"\n'
    f'user = "mia"\ngroups = ["lab"]\n{more}'
    for number, (name, more) in enumerate(
        {"one": "", "two": 'passphrase_command = ["echo", "of two"]\n', "three": ""}.items(), 1
    )
)

Work = Callable[[Credentials], object]


class Boards:
    """What provisioning one board is called with, in place of doing it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Credentials]] = []
        self.does: dict[str, list[Work]] = {}

    def provision(
        self,
        endpoint: Endpoint,
        desired: DesiredState,
        options: ProvisionOptions,
        credentials: Credentials,
        reporter: Reporter,
    ) -> ProvisionResult:
        self.calls.append((endpoint.name, credentials))
        if work := self.does.get(endpoint.name):
            work.pop(0)(credentials)
        return ProvisionResult(endpoint.name)


def fails(error: BaseException) -> Work:
    def work(_: Credentials) -> None:
        raise error

    return work


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boards:
    boards = Boards()
    for name in ("board", "profiles", "rootfs", "templates"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    (tmp_path / "bootwright.toml").write_text(TARGETS)
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    monkeypatch.setenv("BOOTWRIGHT_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(command, "provision", boards.provision)
    no_terminal(monkeypatch)
    return boards


def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "terminal", lambda: None)


def terminal(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> list[str]:
    """Have a terminal at which these passwords are typed; return who is asked, as it happens."""
    asked: list[str] = []
    typed = list(passwords)

    def read(file: str | None, who: str) -> Secret:
        assert file is None
        asked.append(who)
        return Secret(typed.pop(0).encode())

    monkeypatch.setattr(command, "terminal", lambda: lambda text: "yes")
    monkeypatch.setattr(command, "read_sudo_password", read)
    return asked


def request(*names: str, **more: Any) -> ProvisionRequest:
    return ProvisionRequest(names, None, ProvisionOptions(), **more)


def ends(done: Sequence[ProvisionResult]) -> dict[str, int]:
    return {result.target: result.error.exit_code if result.error else 0 for result in done}


def test_one_board_that_fails_leaves_the_others_alone(
    boards: Boards, capsys: pytest.CaptureFixture[str]
) -> None:
    boards.does = {"two": [fails(FailedError("two: it is broken"))]}
    done = provision_targets(request("one", "two", "three"))
    assert ends(done.targets) == {"one": 0, "two": 4, "three": 0}
    assert done.exit_code == 4
    assert [result["target"] for result in done.document()["targets"]] == ["one", "two", "three"]
    shown = capsys.readouterr().err
    assert "two" in shown
    assert "it is broken" in shown
    assert sorted(name for name, _ in boards.calls) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ({}, 0),
        ({"one": RefusedError("no"), "two": FailedError("no")}, 4),
        ({"one": RefusedError("no"), "three": InputError("no")}, 3),
        ({"one": KeyError("no"), "two": FailedError("no")}, 70),
    ],
)
def test_the_gravest_error_is_the_exit_code_of_all(
    boards: Boards, errors: dict[str, BootwrightError], code: int
) -> None:
    boards.does = {name: [fails(error)] for name, error in errors.items()}
    done = provision_targets(request("one", "two", "three"))
    assert done.exit_code == code
    assert {result.target for result in done.targets if not result.ok} == set(errors)


def test_one_board_has_the_same_exit_code_and_no_exception(
    boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = terminal(monkeypatch)
    boards.does = {"one": [fails(RefusedError("one: not the host key"))]}
    done = provision_targets(request("one"))
    assert (ends(done.targets), done.exit_code) == ({"one": 3}, 3)
    # A password would not help.
    assert asked == []


def test_the_only_board_may_ask_for_the_password_of_sudo_once(
    boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = terminal(monkeypatch, "right")
    boards.does = {"one": [fails(SudoPasswordError("asks")), lambda _: None]}
    done = provision_targets(request("one"))
    assert done.exit_code == 0
    assert asked == ["mia on one"]
    first, second = (credentials.sudo_password for _, credentials in boards.calls)
    assert first is None
    assert second is not None
    assert second.reveal() == b"right"
    assert all(credentials.ask is not None for _, credentials in boards.calls)


def test_a_wrong_password_of_sudo_is_tried_once(
    boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = terminal(monkeypatch, "wrong", "another")
    boards.does = {
        "one": [fails(SudoPasswordError("asks")), fails(FailedError("sudo refused the password"))]
    }
    done = provision_targets(request("one"))
    assert ends(done.targets) == {"one": 4}
    assert asked == ["mia on one"]
    assert len(boards.calls) == 2


def test_a_password_from_a_file_is_not_asked_for_again(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("from the file\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setattr(command, "terminal", lambda: lambda text: "yes")
    boards.does = {"one": [fails(SudoPasswordError("asks all the same"))]}
    done = provision_targets(request("one", sudo_password_file=str(tmp_path / "password")))
    assert ends(done.targets) == {"one": 4}
    ((_, credentials),) = boards.calls
    assert credentials.sudo_password is not None
    assert credentials.sudo_password.reveal() == b"from the file"


def test_without_a_terminal_nobody_is_asked(boards: Boards) -> None:
    boards.does = {"one": [fails(SudoPasswordError("asks"))]}
    done = provision_targets(request("one"))
    assert ends(done.targets) == {"one": 4}
    assert len(boards.calls) == 1


def test_several_boards_ask_nobody(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = terminal(monkeypatch)
    boards.does = {"one": [fails(SudoPasswordError("asks"))]}
    done = provision_targets(request("one", "three"))
    assert ends(done.targets) == {"one": 4, "three": 0}
    assert asked == []
    assert all(credentials.ask is None for _, credentials in boards.calls)


def test_the_passphrase_of_several_boards_comes_from_a_command_or_a_file(
    boards: Boards, tmp_path: Path
) -> None:
    given: dict[str, bytes] = {}
    boards.does = {
        name: [lambda c, name=name: given.update({name: c.passphrase().reveal()})]  # type: ignore[misc]
        for name in ("one", "two")
    }
    done = provision_targets(request("one", "two"))
    assert given == {"two": b"of two"}
    (error,) = (result.error for result in done.targets if result.error)
    assert "with several boards nobody is asked" in str(error)
    assert "passphrase_command" in str(error)
    (tmp_path / "passphrase").write_text("of the file\n")
    (tmp_path / "passphrase").chmod(0o600)
    boards.does = {
        name: [lambda c, name=name: given.update({name: c.passphrase().reveal()})]  # type: ignore[misc]
        for name in ("one", "two")
    }
    done = provision_targets(request("one", "two", passphrase_file=str(tmp_path / "passphrase")))
    assert done.exit_code == 0
    assert given == {"one": b"of the file", "two": b"of the file"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one", "nosuch"), "nosuch"),
        ((), "name a target"),
    ],
)
def test_a_wrong_name_among_others_begins_nothing(
    boards: Boards, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        provision_targets(request(*names))
    assert boards.calls == []


def test_a_board_without_an_address_begins_nothing(boards: Boards, tmp_path: Path) -> None:
    alone = '[targets.alone]\nboard = "odroid-xu3"\nrootfs = "debian"\n'
    (tmp_path / "bootwright.toml").write_text(TARGETS + alone)
    with pytest.raises(InputError, match="target 'alone' has no address"):
        provision_targets(request("one", "alone"))
    assert boards.calls == []
