"""Deciding how a volume is opened over SSH, and the scripts that do it.

One script opens, starts what lies on the volume and reports the state again, so that a
connection that is slow to set up or that breaks matters little. Every step may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from bootwright.core.board_names import BINDS
from bootwright.core.endpoints import Endpoint
from bootwright.core.errors import FailedError
from bootwright.core.shell import Value, render
from bootwright.remote.sections import SECTIONS, Section
from bootwright.volume.facts import (
    VOLUME_FACTS,
    VolumeFacts,
    VolumeLayout,
    Waiting,
    volume_variables,
)

SERVICES = ("containerd.service", "docker.service")
"""What keeps its data on the volume, in the order in which it starts."""

WRONG_PASSPHRASE = 2
"""cryptsetup's exit status; cryptsetup(8), RETURN CODES."""

BUSY = 5
"""cryptsetup's exit status when the volume or its device is in use already."""

_ACTIVATION = {
    "discard": "--allow-discards",
    "readonly": "--readonly",
    "read-only": "--readonly",
    "same-cpu-crypt": "--perf-same_cpu_crypt",
    "submit-from-crypt-cpus": "--perf-submit_from_crypt_cpus",
    "no-read-workqueue": "--perf-no_read_workqueue",
    "no-write-workqueue": "--perf-no_write_workqueue",
}
"""Options of crypttab(5) that change how a volume is opened, as cryptsetup(8) calls them."""

_OTHER_FORMATS = ("plain", "tcrypt", "bitlk", "header")
"""Options of crypttab(5) by which an entry is not for a LUKS2 volume with its own header."""


class UnlockMethod(Enum):
    """What is left to do."""

    NOTHING = auto()
    FINISH = auto()
    """It is open; something is not mounted or does not run."""
    ANSWER = auto()
    """A program on the board asks for the passphrase."""
    OPEN = auto()


def place_of(endpoint: Endpoint) -> VolumeLayout:
    """Return where the target's volume is used."""
    return VolumeLayout(endpoint.volume, endpoint.mount, tuple(BINDS), SERVICES)


def decide(facts: VolumeFacts, place: VolumeLayout) -> UnlockMethod:
    """Return what is left to do until the volume is open and in use.

    Raises:
        FailedError: it cannot be opened, or something else is open under its name.
    """
    check_volume(facts, place)
    assert facts.header is not None
    if facts.mapping is None:
        return UnlockMethod.ANSWER if facts.question_for(place.volume) else UnlockMethod.OPEN
    if facts.mapping.luks_uuid != facts.header.uuid:
        raise FailedError(
            f"another volume ({facts.mapping.luks_uuid or 'no LUKS volume'}) is open under the"
            f" name {place.volume}, not {facts.device} ({facts.header.uuid}); if nothing uses"
            f" it, close it on the board: cryptsetup close {place.volume}"
        )
    return UnlockMethod.FINISH if unfinished(facts, place) else UnlockMethod.NOTHING


def check_volume(facts: VolumeFacts, place: VolumeLayout) -> None:
    """Raise unless the board has the volume, with a sound header.

    Raises:
        FailedError: says what is missing.
    """
    if facts.missing:
        raise FailedError(f"the board lacks {' and '.join(facts.missing)}; install it there")
    if facts.crypttab is None:
        raise FailedError(
            f"/etc/crypttab on the board has no entry {place.volume}: is this a card of"
            " bootwright's?"
        )
    wrong = [name for name in facts.crypttab.options if name.split("=")[0] in _OTHER_FORMATS]
    if wrong:
        raise FailedError(
            f"/etc/crypttab on the board has the option {wrong[0]} for {place.volume}: only LUKS2"
            " with its own header is understood"
        )
    if facts.device is None:
        raise FailedError(
            f"the board has no device {facts.crypttab.source}, which its /etc/crypttab names for"
            f" {place.volume}; look there with: lsblk -f"
        )
    if facts.header is None:
        said = facts.header_error or "it says nothing more"
        raise FailedError(
            f"{facts.device} on the board has no sound LUKS2 header; cryptsetup: {said}"
        )


def unfinished(facts: VolumeFacts, place: VolumeLayout) -> list[str]:
    """Return what is still to be done once the volume is open; empty when it is in use."""
    missing = [
        f"{path} is not mounted from it"
        for path in (place.mount, *place.binds)
        if not facts.mounted(path)
    ]
    for name in place.services:
        unit = facts.unit(name)
        if unit.installed and unit.active != "active":
            missing.append(f"{name} is {unit.active} ({unit.sub})")
    return missing


def open_script(facts: VolumeFacts, place: VolumeLayout) -> str:
    """Return the script that opens the volume by the passphrase on its standard input."""
    assert facts.crypttab is not None
    assert facts.device is not None
    options = (flag for name, flag in _ACTIVATION.items() if name in facts.crypttab.options)
    return _script(
        facts,
        place,
        "volume/shell/open_volume.sh",
        luks_device=facts.device,
        open_options=tuple(options),
    )


def answer_script(facts: VolumeFacts, place: VolumeLayout, question: Waiting) -> str:
    """Return the script that answers ``question`` by the passphrase on its standard input.

    The protocol is systemd's "Password Agents"; its own helper speaks it. A question that is
    asked again by the same process was answered wrongly.
    """
    return _script(
        facts,
        place,
        "volume/shell/answer_question.sh",
        question_pid=question.pid,
        question_socket=question.socket,
    )


def finish_script(facts: VolumeFacts, place: VolumeLayout) -> str:
    """Return the script that mounts the open volume and starts what lies on it."""
    return _script(facts, place, "volume/shell/finish_unlocking.sh")


def try_passphrase_script(device: str) -> str:
    """Return the script that tries the passphrase on its standard input.

    It ends with 0, or with :data:`WRONG_PASSPHRASE`.

    Args:
        device: the device with the LUKS header.
    """
    return render(SECTIONS, "volume/shell/try_passphrase.sh", luks_device=device)


def _script(facts: VolumeFacts, place: VolumeLayout, file: str, **variables: Value) -> str:
    start_units = (
        place.crypt_unit,
        *place.mount_units,
        *(name for name in place.services if facts.unit(name).installed),
    )
    return render(
        *VOLUME_FACTS,
        "volume/shell/start_units.sh",
        file,
        **volume_variables(place),
        start_units=start_units,
        **variables,
    )


@dataclass(frozen=True)
class UnlockOutcome:
    """How opening, or answering, ended.

    Attributes:
        opened: the volume is open; what follows was started.
        wrong: the passphrase was refused.
        gone: the program that asked ended without opening the volume.
        trouble: what failed, for a person; empty if nothing did.
    """

    opened: bool = False
    wrong: bool = False
    gone: bool = False
    trouble: str = ""


def outcome(sections: Sequence[Section]) -> UnlockOutcome:
    """Return how the script ended that wrote ``sections``."""
    first = {section.name: section for section in reversed(sections)}
    if "open" in first:
        code, said = first["open"].line(0), "\n".join(first["open"].lines[1:]).strip()
        if code == str(WRONG_PASSPHRASE):
            return UnlockOutcome(wrong=True)
        # Open already: somebody else was faster. Whether it is this volume shows next.
        if code not in ("0", str(BUSY)):
            return UnlockOutcome(trouble=f"cryptsetup ended with {code}: {said}")
        if code == str(BUSY) and "mapping" not in first:
            return UnlockOutcome(trouble=f"the device is busy; cryptsetup: {said}")
    if "answer" in first:
        answer = first["answer"]
        if answer.line(0) != "0" or answer.line(1) == "gone":
            # The question is gone, or was answered by somebody else meanwhile.
            return UnlockOutcome(gone=True)
        if answer.line(1) == "asks-again":
            return UnlockOutcome(wrong=True)
    return UnlockOutcome(opened=True, trouble=_failed_start(sections))


def _failed_start(sections: Sequence[Section]) -> str:
    for number, section in enumerate(sections):
        if section.name == "start" and section.line(1) != "0":
            journal = sections[number + 1] if number + 1 < len(sections) else None
            lines = list(journal.lines if journal and journal.name == "journal" else ())
            lines = lines or list(section.lines[2:])
            said = "".join(f"\n  {line[:300]}" for line in lines if line.strip())
            return f"{section.line(0)} did not start; its journal ends in:{said}"
    return ""
