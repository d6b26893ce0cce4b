"""Finding what a new target may be reached by: serial ports, and boards in this network.

Nothing is scanned: only names are looked up, and only a board whose MAC address is known from its
card is asked for an answer.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bootwright.core.errors import FailedError
from bootwright.core.io.process import Finished, run
from bootwright.hosts.addresses import (
    link_local,
    parse_getent,
    parse_interfaces,
    parse_neighbours,
)

ANSWER_S = 3.0
"""Seconds that a look-up may take; a name server that does not answer takes longer."""

RunProgram = Callable[[Sequence[str]], Finished]
"""Runs a program and returns its output, also if its status is not 0."""


def _run(argv: Sequence[str]) -> Finished:
    return run(argv, check=False, timeout=ANSWER_S)


def serial_ports(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the serial ports of this machine that an adapter is plugged into.

    Names below ``/dev/serial/by-id`` come first: they stay the same when other adapters are
    plugged in.
    """
    stable = sorted((dev / "serial" / "by-id").glob("*"))
    known = {path.resolve() for path in stable}
    others = [*sorted(dev.glob("ttyUSB*")), *sorted(dev.glob("ttyACM*"))]
    return tuple(str(path) for path in (*stable, *(x for x in others if x.resolve() not in known)))


def card_macs(cards: Path, target: str) -> tuple[str, ...]:
    """Return the MAC addresses of the cards that were made for a target, the newest first.

    Args:
        cards: the folder with the manifests, ``build/cards``.
        target: the target's name.
    """
    found = []
    for path in cards.glob("*.json"):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            mac = str(document["mac"]).lower()
            if document["target"] == target and re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac):
                found.append((path.stat().st_mtime, mac))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # A manifest of an older version, or one that is damaged.
    return tuple(dict.fromkeys(mac for _, mac in sorted(found, reverse=True)))


def find_board(hostname: str, macs: Sequence[str], run: RunProgram = _run) -> tuple[str, ...]:
    """Return the addresses at which a board may be reached, without repetition.

    Its host name is looked up, also as ``HOSTNAME.local`` (multicast DNS, if this machine has it);
    and its MAC addresses are looked for among the machines that this one was in contact with. With
    a MAC address that is not among them, the board's link-local IPv6 address is known, and asked
    for an answer.

    Args:
        hostname: the board's host name.
        macs: MAC addresses of its cards.
        run: runs a program.
    """
    return tuple(dict.fromkeys(_addresses(hostname, macs, run)))


def _addresses(hostname: str, macs: Sequence[str], run: RunProgram) -> Iterator[str]:
    for name in (hostname, f"{hostname}.local"):
        yield from parse_getent(_output(run, "getent", "ahosts", name))
    if not macs:
        return
    known = parse_neighbours(_output(run, "ip", "-json", "neigh"), macs)
    yield from known
    if not known:
        interfaces = parse_interfaces(_output(run, "ip", "-json", "link"))
        for address in (f"{link_local(macs[0])}%{interface}" for interface in interfaces):
            try:
                answered = run(["ping", "-6", "-c", "1", "-W", "1", address]).returncode == 0
            except FailedError:
                return
            if answered:
                yield address


def _output(run: RunProgram, *argv: str) -> str:
    """Return what a program printed; an empty text if it failed, or is not there."""
    try:
        finished = run(argv)
    except FailedError:
        return ""
    return finished.text if finished.returncode == 0 else ""
