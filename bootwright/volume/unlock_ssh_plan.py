"""How a volume is opened over SSH: the decision, and the scripts that do it. Pure.

One script opens the volume, starts the services that use it and reports the state again, so that
a slow or broken connection does little harm. Every step may be repeated.
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
    BoardQuestion,
    VolumeFacts,
    VolumeLayout,
    volume_variables,
)

SERVICES = ("containerd.service", "docker.service")
"""The services that keep their data on the volume, in the order in which they start."""

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
"""Options of crypttab(5) of volumes that are not LUKS2, or whose header is elsewhere."""


class UnlockMethod(Enum):
    """What remains to be done until the volume is open and in use."""

    NOTHING = auto()
    """It is open and mounted, and its services run."""
    FINISH = auto()
    """It is open; what is missing has to be mounted or started."""
    ANSWER = auto()
    """A program on the board asks for the passphrase; it gets it, and opens the volume."""
    OPEN = auto()
    """cryptsetup opens it."""


def layout_of(endpoint: Endpoint) -> VolumeLayout:
    """Return the layout of the target's volume."""
    return VolumeLayout(endpoint.volume, endpoint.mount, tuple(BINDS), SERVICES)


def decide(facts: VolumeFacts, layout: VolumeLayout) -> UnlockMethod:
    """Return what remains to be done until the volume is open and in use.

    Raises:
        FailedError: it cannot be opened, or another volume is open under its name.
    """
    check_volume(facts, layout)
    assert facts.header is not None
    if facts.mapping is None:
        return UnlockMethod.ANSWER if facts.question_for(layout.volume) else UnlockMethod.OPEN
    if facts.mapping.luks_uuid != facts.header.uuid:
        raise FailedError(
            f"another volume ({facts.mapping.luks_uuid or 'no LUKS volume'}) is open under the"
            f" name {layout.volume}, not {facts.device} ({facts.header.uuid}); if nothing uses"
            f" it, close it on the board: cryptsetup close {layout.volume}"
        )
    return UnlockMethod.FINISH if unfinished(facts, layout) else UnlockMethod.NOTHING


def check_volume(facts: VolumeFacts, layout: VolumeLayout) -> None:
    """Raise unless the board has the volume, with an intact header.

    Raises:
        FailedError: says what is missing.
    """
    if facts.missing:
        raise FailedError(f"the board has no {' and no '.join(facts.missing)}; install it there")
    if facts.crypttab is None:
        raise FailedError(
            f"/etc/crypttab on the board has no entry {layout.volume}: was the card made by"
            " `inv flash`?"
        )
    wrong = [name for name in facts.crypttab.options if name.split("=")[0] in _OTHER_FORMATS]
    if wrong:
        raise FailedError(
            f"/etc/crypttab on the board has the option {wrong[0]} for {layout.volume}: only LUKS2"
            " with its header on the same device is supported"
        )
    if facts.device is None:
        raise FailedError(
            f"the board has no device {facts.crypttab.source}, which its /etc/crypttab names for"
            f" {layout.volume}; list the board's devices with: lsblk -f"
        )
    if facts.header is None:
        message = facts.header_error or "no message"
        raise FailedError(
            f"{facts.device} on the board has no intact LUKS2 header; cryptsetup: {message}"
        )


def unfinished(facts: VolumeFacts, layout: VolumeLayout) -> list[str]:
    """Return what an open volume still lacks, in words; empty when it is in use."""
    missing = [
        f"{path} is not mounted from it"
        for path in (layout.mount, *layout.binds)
        if not facts.mounted(path)
    ]
    for name in layout.services:
        unit = facts.unit(name)
        if unit.installed and unit.active != "active":
            missing.append(f"{name} is {unit.active} ({unit.sub})")
    return missing


def open_script(facts: VolumeFacts, layout: VolumeLayout) -> str:
    """Return the script that opens the volume with the passphrase on its standard input."""
    assert facts.crypttab is not None
    assert facts.device is not None
    options = (flag for name, flag in _ACTIVATION.items() if name in facts.crypttab.options)
    return _script(
        facts,
        layout,
        "volume/shell/open_volume.sh",
        luks_device=facts.device,
        open_options=tuple(options),
    )


def answer_script(facts: VolumeFacts, layout: VolumeLayout, question: BoardQuestion) -> str:
    """Return the script that answers ``question`` with the passphrase on its standard input.

    The protocol is systemd's "Password Agents"; systemd's own helper is used for it. If the same
    process asks again, the passphrase was wrong.
    """
    return _script(
        facts,
        layout,
        "volume/shell/answer_question.sh",
        question_pid=question.pid,
        question_socket=question.socket,
    )


def finish_script(facts: VolumeFacts, layout: VolumeLayout) -> str:
    """Return the script that mounts the open volume and starts its services."""
    return _script(facts, layout, "volume/shell/finish_unlocking.sh")


def try_passphrase_script(device: str) -> str:
    """Return the script that tries the passphrase on its standard input.

    It ends with 0, or with :data:`WRONG_PASSPHRASE`.

    Args:
        device: the device with the LUKS header.
    """
    return render(SECTIONS, "volume/shell/try_passphrase.sh", luks_device=device)


def _script(facts: VolumeFacts, layout: VolumeLayout, file: str, **variables: Value) -> str:
    start_units = (
        layout.crypt_unit,
        *layout.mount_units,
        *(name for name in layout.services if facts.unit(name).installed),
    )
    return render(
        *VOLUME_FACTS,
        "volume/shell/start_units.sh",
        file,
        **volume_variables(layout),
        start_units=start_units,
        **variables,
    )


@dataclass(frozen=True)
class UnlockOutcome:
    """How opening the volume, or answering the question for its passphrase, ended.

    Attributes:
        opened: the volume is open, and its units were started.
        wrong: the passphrase was refused.
        gone: the program that asked ended without opening the volume.
        problem: what failed, in words for the operator; empty if nothing did.
    """

    opened: bool = False
    wrong: bool = False
    gone: bool = False
    problem: str = ""


def outcome(sections: Sequence[Section]) -> UnlockOutcome:
    """Return how opening or answering ended, by the script's ``sections``."""
    first = {section.name: section for section in reversed(sections)}
    if "open" in first:
        code, message = first["open"].line(0), "\n".join(first["open"].lines[1:]).strip()
        if code == str(WRONG_PASSPHRASE):
            return UnlockOutcome(wrong=True)
        # Busy: somebody else may have opened it. Whether it is this volume is checked later.
        if code not in ("0", str(BUSY)):
            return UnlockOutcome(problem=f"cryptsetup ended with {code}: {message}")
        if code == str(BUSY) and "mapping" not in first:
            return UnlockOutcome(problem=f"the device is in use; cryptsetup: {message}")
    if "answer" in first:
        answer = first["answer"]
        if answer.line(0) != "0" or answer.line(1) == "gone":
            # The program does not ask any more, or somebody else has answered it.
            return UnlockOutcome(gone=True)
        if answer.line(1) == "asks-again":
            return UnlockOutcome(wrong=True)
    return UnlockOutcome(opened=True, problem=_failed_start(sections))


def _failed_start(sections: Sequence[Section]) -> str:
    for number, section in enumerate(sections):
        if section.name == "start" and section.line(1) != "0":
            journal = sections[number + 1] if number + 1 < len(sections) else None
            lines = list(journal.lines if journal and journal.name == "journal" else ())
            lines = lines or list(section.lines[2:])
            message = "".join(f"\n  {line[:300]}" for line in lines if line.strip())
            return f"{section.line(0)} did not start; its journal ends in:{message}"
    return ""
