"""Consoles of boots, made from a number: what may come over a serial line, and what should
come of it.

:func:`generate` composes :class:`~bootwright.console.simulated_board.SimulatedBoard` scripts from
versions, names, colours, tears, noise and outcomes. The same number gives the same
scenario, as long as this module and :mod:`tests.support.console_noise` stay as they are.

Left out, because a person could not tell either:

* a quotation that a line without time stamp cuts right before ``Please``;
* a question without colours that begins inside an escape sequence;
* what somebody typed at the initial RAM disk's question before, which shows nothing;
* lost bytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from bootwright.console.simulated_board import (
    AskPassphrase,
    BootStep,
    Interruptions,
    Listen,
    Output,
    Pieces,
    SimulatedBoard,
    interrupt,
)
from bootwright.console.systemd_messages import HIDDEN, INITRAMFS, Dialect
from bootwright.volume.unlock_result import Result
from tests.support import console_noise as noise

VOLUME, MOUNT = "docker-data", "/mnt/docker-data"
OURS = "ours"
NAMES = (
    VOLUME,
    f"{VOLUME} on {MOUNT}",
    f"SanDisk_SD ({VOLUME})",
    f"SanDisk_SD ({VOLUME}) on {MOUNT}",
    f"SD card, 32 GB (old) ({VOLUME}) on {MOUNT}",
)
OTHERS = (
    "swap",
    "docker-data-old",
    "old-docker-data",
    "docker-data2",
    "docker-data-old on /mnt/docker-data",
    "docker-data (backup)",
    "docker-data (backup) on /mnt/backup",
    "SanDisk_SD (docker-data2) on /mnt/docker-data",
    "not docker-data",
)
VERSIONS = (INITRAMFS, 208, 229, 232, 239, 240, 241, 244, 245, 246, 247, 250, 252, 252, 255, 257)
TIMEOUT_S = 25.0
UNLOCKED = frozenset({Result.UNLOCKED})
ALREADY = frozenset({Result.ALREADY_UNLOCKED})
WRONG = frozenset({Result.WRONG_PASSPHRASE})
NO_PROMPT = frozenset({Result.NO_PROMPT})
NOT_OPENED = frozenset({Result.NO_PROMPT, Result.FAILED})


@dataclass(frozen=True)
class Scenario:
    """A console and what should come of it.

    Attributes:
        seed: what it was made from.
        kind: what it is about.
        script: what the board does.
        passphrase: what the session is given to type.
        answered: the results that fit if the session has answered the volume's question.
        unanswered: those that fit if it has not; empty if it should have.
        joins_at: seconds after which the session comes; what was printed before is history.
        remembered: the history is known; else what came before is lost.
        typed_before: what somebody typed before that, and when.
        restarts: how many times the board restarts.
        at_least: bytes that a read waits for, up to 0.1 s.
        tab_echo: what an echoed TAB looks like.
        features: what it is made of, to tell failing classes.
    """

    seed: int
    kind: str
    script: tuple[BootStep, ...]
    passphrase: bytes
    answered: frozenset[Result]
    unanswered: frozenset[Result]
    joins_at: float = 0.0
    remembered: bool = True
    typed_before: tuple[tuple[float, bytes], ...] = ()
    restarts: int = 0
    at_least: int = 1
    tab_echo: bytes = b"\t"
    features: frozenset[str] = field(default_factory=frozenset)

    def board(self) -> SimulatedBoard:
        return SimulatedBoard(self.script, tab_echo=self.tab_echo)


def generate(seed: int) -> Scenario:
    """Return the scenario of ``seed``."""
    return _Composer(seed).compose()


def at_once(data: bytes) -> Pieces:
    return ((0.0, data),) if data else ()


class _Composer:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.features: set[str] = set()
        self.right = self._secret()
        self.dialect = self._dialect()
        self.features.add(f"v{self.dialect.version}")

    def compose(self) -> Scenario:
        kinds = {
            self.right_answer: 40,
            self.typed_before: 3,
            self.wrong_answer: 14,
            self.last_wrong_answer: 3,
            self.other_only: 8,
            self.other_then_ours: 7,
            self.ours_then_other: 3,
            self.emergency: 3,
            self.silence: 1,
            self.open_already: 4,
            self.opened_elsewhere: 3,
            self.restart_before: 4,
            self.restart_after: 2,
            self.quotations_only: 6,
            self.old_log_at_a_shell: 4,
            self.echo_stays_on: 2,
        }
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        scenario = kind()
        joins_at = max(scenario.joins_at, self.rng.choice([0, 0, 0, self.rng.uniform(0, 8)]))
        remembered = True
        if joins_at:
            remembered = bool(scenario.joins_at) or self.rng.random() < 0.8
            self.features.add("history" if remembered else "history lost")
        return replace(
            scenario,
            kind=kind.__name__,
            joins_at=joins_at,
            remembered=remembered,
            at_least=self.rng.choice([1, 1, 2, 5, 16, 64, 100_000]),
            tab_echo=self.rng.choice([b"\t", b"        ", b"  "]),
            features=frozenset(self.features),
        )

    # What happens.

    def right_answer(self) -> Scenario:
        return self._scenario((self.before(), self.ours(), *self.after()), UNLOCKED)

    def typed_before(self) -> Scenario:
        """Somebody typed at the question and left it, before the session comes."""
        while self.dialect.version == INITRAMFS:
            self.dialect = self._dialect()
        typed = self.rng.choice([b"\t", b"abc", b"\tabc", b"abc\t", b"\x7f"])
        steps = (self.before(), self.ours(), *self.after())
        scenario = self._scenario(steps, UNLOCKED, joins_at=10.0)
        self.features.add(f"typed {typed!r}")
        return replace(scenario, typed_before=((6.0, typed),))

    def wrong_answer(self) -> Scenario:
        tries = self.rng.choice([0, 2, 3, 3])
        ask = replace(self.ours(), right=b"another", tries=tries)
        return self._scenario((self.before(), ask), WRONG)

    def last_wrong_answer(self) -> Scenario:
        ask = replace(self.ours(), right=b"another", tries=1)
        fits = WRONG
        if self.dialect.version != INITRAMFS:
            gave_up = self.dialect.gave_up(VOLUME, MOUNT)
            if self.rng.random() < 0.5:
                self.features.add("silent give-up")
                gave_up = gave_up[gave_up.index(b"\n") + 1 :]
            ask = replace(ask, gave_up=(Output(at_once(gave_up)), *self.maintenance()))
            fits = frozenset({Result.WRONG_PASSPHRASE, Result.EMERGENCY})
        else:
            ask = replace(ask, gave_up=(Output(at_once(self.dialect.gave_up(VOLUME, MOUNT))),))
        return self._scenario((self.before(), ask), fits)

    def other_only(self) -> Scenario:
        verify = self.dialect.version != INITRAMFS and self.rng.random() < 0.15
        return self._scenario((self.before(), self.other(verify=verify)), NO_PROMPT, NO_PROMPT)

    def other_then_ours(self) -> Scenario:
        other = replace(self.other(), patience=self.rng.uniform(0, 4))
        between = self.rng.choice([b"\r\n", b"\r\n", b""])
        if not between:
            self.features.add("question after question")
        if self.rng.random() < 0.5:
            between += self.dialect.opened("swap", "/mnt/swap")
        return self._scenario(
            (self.before(), other, Output(at_once(between)), self.ours(), *self.after()), UNLOCKED
        )

    def ours_then_other(self) -> Scenario:
        ours = replace(self.ours(), patience=self.rng.uniform(0, 4))
        steps = (self.before(), ours, Output(at_once(b"\r\n")), self.other())
        return self._scenario(steps, UNLOCKED, NOT_OPENED)

    def emergency(self) -> Scenario:
        lines = (
            f"[ TIME ] Timed out waiting for device /dev/mapper/{VOLUME}.\r\n"
            f"[DEPEND] Dependency failed for {MOUNT}.\r\n"
        ).encode()
        text = at_once(lines if self.rng.random() < 0.7 else b"")
        steps = (self.before(), Output(text), *self.maintenance())
        emergency = frozenset({Result.EMERGENCY})
        return self._scenario(steps, emergency, emergency)

    def silence(self) -> Scenario:
        text = self.rng.choice([b"", b"\0", b"\0\0\0", b"\r\n"])
        return self._scenario((Output(at_once(text)),), NO_PROMPT, NO_PROMPT)

    def open_already(self) -> Scenario:
        opened = self.rng.choice([b"", self.dialect.opened(VOLUME, MOUNT)])
        steps = (self.before(), Output(at_once(opened)), *self.after())
        return self._scenario(steps, ALREADY, ALREADY)

    def opened_elsewhere(self) -> Scenario:
        ours = replace(self.ours(), patience=self.rng.uniform(0, 4))
        opened = self.rng.choice([b"\r\n", b""]) + self.dialect.opened(VOLUME, MOUNT)
        steps = (self.before(), ours, Output(at_once(opened)), self.login())
        return self._scenario(steps, UNLOCKED, ALREADY)

    def restart_before(self) -> Scenario:
        first = replace(self.ours(), patience=self.rng.uniform(0, 5))
        # The initial RAM disk's question does not show that it has gone.
        pause = 0.0 if self.dialect.version == INITRAMFS else self.rng.uniform(0, 1)
        restart = Output(((pause, self.rng.choice(noise.RESTARTS)),))
        steps = (self.before(), first, restart, self.before(), self.ours(), *self.after())
        return replace(self._scenario(steps, UNLOCKED), restarts=1)

    def restart_after(self) -> Scenario:
        first = replace(self.ours(), opened=())
        restart = Output(((self.rng.uniform(0, 1), self.rng.choice(noise.RESTARTS)),))
        steps = (self.before(), first, restart, self.ours(), *self.after())
        # It may be left to the operator, or answered again.
        scenario = self._scenario(steps, frozenset({Result.FAILED, Result.UNLOCKED}))
        return replace(scenario, restarts=1)

    def quotations_only(self) -> Scenario:
        steps = [self.before()]
        for _ in range(self.rng.randrange(1, 3)):
            steps += [Output(at_once(self.quotation())), self.before()]
        return self._scenario(tuple(steps), NO_PROMPT, NO_PROMPT)

    def old_log_at_a_shell(self) -> Scenario:
        """Somebody looked at an old console's log, at a shell that still has the terminal."""
        shell = self.rng.choice(noise.SHELLS)
        old = b"".join(part for _, part in (*self.before().pieces, *self.ours().prompt))
        old += self.rng.choice([b"", b"\b \b" * len(self.dialect.hint) + HIDDEN])
        if self.rng.random() < 0.3:
            old = old[: self.rng.randrange(len(old))]
        text = (
            b"\r\nDebian GNU/Linux 12 board ttySAC2\r\n\r\nboard login: root\r\nPassword: \r\n"
            b"Last login: Tue Jan  6 20:56:31 UTC 2026 on ttySAC2\r\n"
            + shell
            + b"cat console.log\r\n"
            + old
        )
        script = (self.before(), Output(at_once(text)), Listen(at_once(shell), b"\r\n" + shell))
        fits = ALREADY | NOT_OPENED
        # At once: nobody else can type there while the session is connected.
        return self._scenario(script, fits, fits, joins_at=20.0)

    def echo_stays_on(self) -> Scenario:
        if self.dialect.version == INITRAMFS:
            self.dialect = replace(self.dialect, version=252)
        ours = replace(self.ours(), echo_delay=math.inf)
        failed = frozenset({Result.FAILED, Result.NO_PROMPT})
        return self._scenario((self.before(), ours), failed, failed)

    def _scenario(
        self,
        script: tuple[BootStep, ...],
        answered: frozenset[Result],
        unanswered: frozenset[Result] = frozenset(),
        joins_at: float = 0.0,
    ) -> Scenario:
        return Scenario(self.seed, "", script, self.right, answered, unanswered, joins_at=joins_at)

    # What it is made of.

    def before(self) -> Output:
        """Return boot messages, and now and then text that quotes a question."""
        pieces = [(self.rng.uniform(0, 1), noise.boot_text(self.rng))]
        if self.rng.random() < 0.1:
            self.features.add("quotation before")
            pieces.append((0.0, self.quotation()))
        return Output(tuple(pieces))

    def ours(self) -> AskPassphrase:
        dialect = self.dialect
        writes = dialect.question(self.rng.choice(NAMES))
        seconds = self.rng.choice([0.0, 0.1, 2.0])
        opened = self._interrupted_lines(dialect.opened(VOLUME, MOUNT))
        return AskPassphrase(
            disk=OURS,
            dialect=dialect,
            prompt=self._interrupted_prompt(writes),
            right=self.right,
            tries=self.rng.choice([0, 3]),
            echo_delay=self.rng.choice([0.0, 0.0, 0.001, 0.02, 0.09, 0.3, 1.5]),
            reaction=self.rng.choice([0.0, 0.0, 0.001, 0.05, 0.3, 2.0]),
            reply_interruptions=self._tears(b"\b \b" * len(dialect.hint) + HIDDEN, "reply"),
            meanwhile=self._meanwhile(),
            kdf_seconds=seconds,
            opened=opened,
            refused=at_once(self.rng.choice([b"", dialect.refused()])),
        )

    def other(self, verify: bool = False) -> AskPassphrase:
        disk = VOLUME if verify else self.rng.choice(OTHERS)
        self.features.add("verification" if verify else f"other: {disk}")
        ask = self.ours()
        prompt = self._interrupted_prompt(self.dialect.question(disk, verify=verify))
        return replace(ask, disk=disk, prompt=prompt, right=b"another")

    def after(self) -> tuple[BootStep, ...]:
        shown = self.rng.choice([b"", noise.boot_text(self.rng, start=False)])
        return (Output(at_once(shown)), self.login())

    def login(self) -> Listen:
        banner = self.rng.choice([b"\r\nDebian GNU/Linux 12 board ttySAC2\r\n\r\n", b"\r\n"])
        return Listen(at_once(banner + b"board login: "), b"Password: ")

    def maintenance(self) -> tuple[BootStep, ...]:
        text = self.dialect.emergency(locked=self.rng.random() < 0.5)
        return (Listen(at_once(text), b"\r\nLogin incorrect\r\n"),)

    def quotation(self) -> bytes:
        disk = self.rng.choice([*NAMES, *OTHERS[:3]])
        dialect = replace(self._dialect(), colours=False, grey=False)
        question = b"".join(dialect.question(disk)[:2])
        name, text = noise.quotation(self.rng, question)
        self.features.add(f"quotation: {name}")
        at = text.index(b"Please")
        if not text.startswith(b"[") and self.rng.random() < 0.2:
            self.features.add("interrupted quotation")
            cut = self.rng.randrange(at + 1, len(text))
            text = text[:cut] + noise.record(self.rng, stamped=True) + text[cut:]
        return text

    def _dialect(self) -> Dialect:
        rng = self.rng
        version = rng.choice(VERSIONS)
        wanted = ["passphrase"] * 3
        if version >= 252:
            wanted += ["recovery key", "passphrase or recovery key"]
        colours = version != INITRAMFS and rng.random() < 0.7
        return Dialect(
            version=version,
            wanted=rng.choice(wanted),
            lock=version >= 246 and rng.random() < 0.4,
            colours=colours,
            grey=colours and version >= 247 and rng.random() < 0.2,
            units=version >= 250 and rng.random() < 0.6,
            shorten=rng.random() < 0.6,
            line_end=rng.choice([b"\r\n", b"\r\r\n"]),
        )

    def _secret(self) -> bytes:
        letters = "bcdfghjkqvxzBCDFGHJKQVXZ0123456789 \\'\"$`[]:!*äß☃"
        length = self.rng.choice([4, 8, 12, 20, 40])
        inner = "".join(self.rng.choice(letters) for _ in range(length))
        # A blank at its end would look like a mistake; systemd would take it.
        return f"q{inner}Z".encode()

    def _meanwhile(self) -> Pieces:
        kinds = {"nothing": 4, "jobs": 3, "lines": 2, "records": 2, "quotation": 1, "garbage": 1}
        if self.dialect.version == INITRAMFS:
            kinds = {"nothing": 4, "records": 2}
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "nothing":
            return ()
        self.features.add(f"meanwhile: {kind}")
        make: dict[str, Callable[[], bytes]] = {
            "jobs": lambda: noise.waiting_line(self.rng),
            "lines": lambda: noise.status_line(self.rng),
            "records": lambda: noise.record(self.rng, stamped=self.rng.random() < 0.8),
            "quotation": self.quotation,
            "garbage": lambda: noise.garbage(self.rng),
        }
        pause = self.rng.choice([0.01, 0.05, 0.5])
        count = 1 if kind in ("quotation", "garbage") else self.rng.randrange(1, 6)
        return tuple((self.rng.uniform(0, pause), make[kind]()) for _ in range(count))

    def _interrupted_prompt(self, writes: tuple[bytes, ...]) -> Pieces:
        rng = self.rng
        text = b"".join(writes)
        tears = list(self._tears(text, "prompt"))
        prefix = b""
        if rng.random() < 0.15:
            prefix, rest = self._begun_line()
            tears += [(rng.randrange(len(text) + 1), 0.0, rest)] if rest else []
        if not tears and rng.random() < 0.4:
            # As the program writes it, string by string.
            return at_once(prefix) + tuple((rng.choice([0.0, 0.0, 0.05, 0.4]), w) for w in writes)
        return at_once(prefix) + interrupt(text, tuple(tears))

    def _begun_line(self) -> tuple[bytes, bytes]:
        """Return a line that the question cuts in two."""
        if self.dialect.version == INITRAMFS:
            self.features.add("begun line")
            return b"Begin: Running /scripts/local-top ... ", b""
        line = noise.status_line(self.rng)
        places = [
            at
            for at in range(1, len(line) - 2)
            if self.dialect.colours or b"\x1b" not in line[max(0, at - 9) : at]
        ]
        at = self.rng.choice(places)
        self.features.add("begun line")
        return line[:at], line[at:]

    def _tears(self, text: bytes, where: str) -> Interruptions:
        rng = self.rng
        count = rng.choices([0, 1, 2, 3, 4], [40, 30, 15, 10, 5])[0]
        tears = []
        for _ in range(count):
            kinds = {"stamped": 5, "unstamped": 2, "NUL": 1, "BEL": 1}
            if self.dialect.version != INITRAMFS:
                kinds |= {"line": 2, "jobs": 1}
            kind = rng.choices(list(kinds), list(kinds.values()))[0]
            intruder = {
                "stamped": noise.record(rng, stamped=True),
                "unstamped": noise.record(rng, stamped=False),
                "line": noise.status_line(rng),
                "jobs": noise.waiting_line(rng),
                "NUL": b"\0",
                "BEL": b"\a",
            }[kind]
            pause = rng.choice([0.0, 0.0, 0.01, 0.2])
            tears.append((rng.randrange(len(text) + 1), pause, intruder))
            self.features.add(f"{where} interrupted by {kind}")
        return tuple(tears)

    def _interrupted_lines(self, lines: bytes) -> Pieces:
        """Return the report of success with at most one message of the kernel in it."""
        if self.rng.random() < 0.8:
            return at_once(lines)
        self.features.add("interrupted report")
        tear = (self.rng.randrange(len(lines)), 0.0, noise.record(self.rng, stamped=True))
        return interrupt(lines, (tear,))
