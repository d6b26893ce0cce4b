"""``inv init``: ask for what a new target needs, and write it into ``bootwright.local.toml``."""

from collections.abc import Mapping
from pathlib import Path

from bootwright.core.board import available_boards
from bootwright.core.config_files import read_config_files
from bootwright.core.errors import FailedError, InputError
from bootwright.core.io.ask import Ask
from bootwright.core.io.fsync import replace_file
from bootwright.core.listing import Find
from bootwright.core.target_names import LOCAL_NAME, names
from bootwright.hosts.init_plan import (
    KEYS,
    NOTHING,
    InitFacts,
    InitResult,
    Key,
    TargetQuestion,
    check_answer,
    hostname_of,
    question,
    table_of,
    with_table,
)
from bootwright.hosts.io.discover import card_macs, find_board, serial_ports


def init(
    root: Path,
    given: Mapping[str, str],
    ask: Ask | None,
    *,
    find: Find,
    dev: Path = Path("/dev"),
) -> InitResult:
    """Write a new target, and return what was written.

    At a terminal, what was not given is asked for. Without one, it gets the value that the
    question would have proposed, but nothing that was only found: no serial port and no host.

    Args:
        root: the checkout.
        given: the values of the command line; empty if not given, ``-`` leaves a key out.
        ask: asks the operator; ``None`` without a terminal.
        find: finds addresses.
        dev: the folder with the devices.

    Raises:
        InputError: a value cannot be used, there is such a target, or the terminal was closed.
        FailedError: the file cannot be written.
    """
    files = read_config_files(root)
    facts = InitFacts(
        tuple(available_boards(root / "board")),
        tuple(names("rootfs", root, root)),
        {name: file.name for file in files for name in file.targets},
        serial_ports(dev),
    )
    answers: dict[Key, str] = {}
    for key in KEYS:
        if given.get(key):
            answers[key] = "" if given[key] == NOTHING else given[key]
            check_answer(key, answers[key], facts)
        elif ask is not None:
            found = find(answers["name"], hostname_of(answers["name"])) if key == "host" else ()
            answers[key] = _asked(ask, key, question(key, facts, found), facts)
        else:
            is_found = key in ("serial_port", "host")
            answers[key] = "" if is_found else question(key, facts).default
            check_answer(key, answers[key], facts)
    table = table_of(answers)
    path = root / LOCAL_NAME
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        replace_file(path, with_table(old, table))
    except OSError as error:
        raise FailedError(f"{path}: cannot write it: {error.strerror}") from error
    return InitResult(answers["name"], table, bool(answers["host"]))


def _asked(ask: Ask, key: Key, asked: TargetQuestion, facts: InitFacts) -> str:
    """Return a right answer; ask again after a wrong one."""
    text = str(asked)
    while True:
        line = ask(text)
        if not line.endswith("\n"):
            raise InputError("the keyboard: there was no answer; nothing was written")
        answer = line.strip() or asked.default
        answer = "" if answer == NOTHING else answer
        try:
            check_answer(key, answer, facts)
        except InputError as error:
            text = f"{error}\n{asked}"
        else:
            return answer


def finder(cards: Path) -> Find:
    """Return the function that finds a board by its host name and by its cards.

    Args:
        cards: the folder with the manifests, ``build/cards``.
    """
    return lambda name, hostname: find_board(hostname, card_macs(cards, name))
