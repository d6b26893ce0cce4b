"""``inv init``: the questions for a new target, checks of the answers, and its table. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.options import check_word
from bootwright.core.result import to_document
from bootwright.core.target_names import CONFIG_NAME, LOCAL_NAME
from bootwright.core.toml_model import check_table, toml_key, toml_value

SCHEMA = "bootwright.init/1"

Key = Literal["name", "board", "rootfs", "serial_port", "host"]

KEYS: tuple[Key, ...] = ("name", "board", "rootfs", "serial_port", "host")
"""What is asked for, in this order."""

NOTHING = "-"
"""The answer that leaves a key out."""


@dataclass(frozen=True)
class InitFacts:
    """What is known before the first question.

    Attributes:
        boards: the boards of the checkout.
        rootfs: its root file systems.
        taken: the targets that have a table already, each with the file that it is in.
        serial_ports: the serial ports of this machine.
    """

    boards: tuple[str, ...]
    rootfs: tuple[str, ...]
    taken: Mapping[str, str]
    serial_ports: tuple[str, ...]


@dataclass(frozen=True)
class TargetQuestion:
    """A question: its text, and the answer of the Enter key alone; an empty one leaves it out."""

    text: str
    default: str

    def __str__(self) -> str:
        """Return it as it is shown."""
        return f"{self.text} [{self.default or NOTHING}]: "


def question(key: Key, facts: InitFacts, found: Sequence[str] = ()) -> TargetQuestion:
    """Return the question for a key.

    Args:
        key: the key.
        facts: what is known.
        found: the addresses that were found for the host.
    """
    match key:
        case "name":
            return TargetQuestion("Name of the target", _free_name(facts))
        case "board":
            return TargetQuestion(
                f"Board ({', '.join(facts.boards)})", _first(facts.boards, "odroid-xu3")
            )
        case "rootfs":
            among = ", ".join(facts.rootfs)
            return TargetQuestion(
                f"Root file system ({among})", _first(facts.rootfs, "archlinuxarm")
            )
        case "serial_port":
            ports = ", ".join(facts.serial_ports) or "none is plugged in"
            return TargetQuestion(f"Serial port ({ports})", _first(facts.serial_ports))
        case "host":
            where = f"found: {', '.join(found)}" if found else "not known before the first boot"
            return TargetQuestion(f"Name or address for SSH ({where})", _first(found))


def _free_name(facts: InitFacts) -> str:
    names = ("odroid", *(f"odroid{number}" for number in range(2, 1000)))
    return next(name for name in names if name not in facts.taken)


def _first(values: Sequence[str], preferred: str = "") -> str:
    return preferred if preferred in values else next(iter(values), "")


def check_answer(key: Key, answer: str, facts: InitFacts) -> None:
    """Check the answer to one question; an empty one leaves the key out.

    Raises:
        InputError: it cannot be used; the message says why.
    """
    where = key.replace("_", " ")
    if not answer:
        if key in ("name", "board", "rootfs"):
            raise InputError(f"{where}: a target needs it")
        return
    try:
        answer.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: {answer!r} is not UTF-8 text") from None
    if key == "name" and answer in facts.taken:
        raise InputError(
            f"name: {facts.taken[answer]} has a target {answer!r} already; give another name, or"
            " change that file"
        )
    if key in ("board", "rootfs"):
        check_word(where, answer, facts.boards if key == "board" else facts.rootfs)
    values = {"name": "x", "hostname": "x", "board": "-", "rootfs": "-", key: answer}
    if key == "name":
        values["hostname"] = hostname_of(answer)
    check_table(Target, values, "the answer")


def hostname_of(name: str) -> str:
    """Return the host name of a new target: its name, as far as host names allow it."""
    text = "".join(
        character if character.isascii() and character.isalnum() else "-"
        for character in name.lower()
    )
    return text.strip("-")[:63].strip("-") or "board"


def table_of(answers: Mapping[Key, str]) -> str:
    """Return the table of a new target as text of TOML."""
    name = answers["name"]
    lines = [f"[targets.{toml_key(name)}]"]
    values: dict[str, str] = {
        key: answers[key] for key in KEYS if key != "name" and answers.get(key)
    }
    if hostname_of(name) != name:
        values["hostname"] = hostname_of(name)
    return "\n".join([*lines, *(f"{key} = {toml_value(value)}" for key, value in values.items())])


def with_table(text: str, table: str) -> str:
    """Return the text of a configuration file with one more table at its end.

    Raises:
        InputError: the file is written in a way that no table can follow.
    """
    if not text.strip():
        text = "# Targets of this machine; over bootwright.toml, which explains each key.\n"
    text = f"{text.rstrip()}\n\n{table}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{LOCAL_NAME}: no table can be added to it ({error}); write it by hand:\n{table}"
        ) from None
    return text


@dataclass(frozen=True)
class InitResult:
    """A target that was written into a configuration file.

    Attributes:
        target: its name.
        file: the name of the file, in the checkout.
        table: what was written.
        has_host: whether it is known where SSH reaches it.
    """

    target: str
    table: str
    has_host: bool
    file: str = LOCAL_NAME

    def document(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return to_document(SCHEMA, self)

    def lines(self) -> list[str]:
        """Return what was written, and what to do next."""
        steps = [
            f"inv config {self.target}",
            f"inv flash --target {self.target} --device /dev/sdX",
        ]
        if not self.has_host:
            steps.append("inv targets --find      (after the first boot: its address, for host)")
        return [
            f"written to {self.file}:",
            *(f"  {line}" for line in self.table.splitlines()),
            f"more keys, such as network, packages and first_boot: {CONFIG_NAME} explains each one",
            "next:",
            *(f"  {step}" for step in steps),
        ]
