"""The boot that the simulator plays without a recording. Pure."""

from bootwright.console.simulated_board import AskPassphrase, BootStep, Listen, Output, Pieces
from bootwright.console.systemd_messages import Dialect
from bootwright.core.board_names import MOUNT, VOLUME
from bootwright.core.secret import Secret

_START = (
    (0.0, b"\r\nU-Boot SPL 2020.01 (Jan 06 2020 - 20:56:31 +0000)\r\n"),
    (0.3, b"\r\nU-Boot 2020.01 (Jan 06 2020 - 20:56:31 +0000)\r\n\r\n"),
    (0.5, b"Starting kernel ...\r\n\r\n"),
    (0.4, b"[    0.000000] Linux version 6.1.0-50-armmp-lpae (simulated)\r\n"),
    (0.2, b"[    2.854320] Run /init as init process\r\n"),
    (0.2, b"\r\nWelcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n\r\n"),
)


def sample_boot(passphrase: Secret) -> tuple[BootStep, ...]:
    """Return a boot of Debian 12 (systemd 252) that asks for ``passphrase``, three times."""
    dialect = Dialect()
    ask = AskPassphrase(
        disk=VOLUME,
        dialect=dialect,
        prompt=tuple((0.0, part) for part in dialect.question(f"{VOLUME} on {MOUNT}")),
        right=passphrase.reveal(),
        opened=((0.0, dialect.opened(VOLUME, MOUNT)),),
        gave_up=(
            Output(((0.0, dialect.gave_up(VOLUME, MOUNT)),)),
            Listen(((1.0, dialect.emergency(locked=False)),), b"\r\nLogin incorrect\r\n"),
        ),
    )
    return (
        Output(_START),
        Output(_lines(dialect)),
        ask,
        Listen(((1.0, b"\r\nDebian GNU/Linux 12 simulated ttySAC2\r\n\r\nsimulated login: "),)),
    )


def _lines(dialect: Dialect) -> Pieces:
    units = (
        ("Started", "systemd-udevd.service", "Rule-based Manager for Device Events and Files."),
        ("Reached target", "network.target", "Network."),
    )
    return tuple((0.2, dialect.status("OK", *unit)) for unit in units)
