"""What a serial console carries besides a question: for :mod:`tests.support.consoles`."""

from random import Random

KERNEL = (
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)",
    "EXT4-fs (mmcblk0p2): re-mounted. Quota mode: none.",
    "hrtimer: interrupt took 19664928 ns",
    "usb 1-1: new high-speed USB device number 2 using dwc2",
    "cfg80211: Loaded X.509 cert 'wens: 61c038651aabdcf94bd0ac7ff06c7248db18c600'",
    "platform regulatory.0: firmware: failed to load regulatory.db (-2)",
    "random: crng init done!",
    "a] [b: c!",
    "systemd[1]: Started Rule-based Manager for Device Events and Files.",
    "device-mapper: ioctl: 4.47.0-ioctl (2022-07-28) initialised: dm-devel@redhat.com",
    "x",
)
UNITS = (
    ("systemd-udevd.service", "Rule-based Manager for Device Events and Files"),
    ("dbus.socket", "D-Bus System Message Bus Socket"),
    ("systemd-networkd.service", "Network Configuration"),
    ("apt-daily.timer", "Daily apt download activities"),
    ("systemd-tmpfiles-setup.service", "Create System Files and Directories"),
)
JOBS = (
    "A start job is running for /dev/mapper/docker-data",
    "A start job is running for Cryptography Setup for docker-data",
    "Job systemd-cryptsetup@doc…vice/start running",
    "Job dev-mapper-docker\\x2ddata.device/start running",
)
BOOT = (
    "[    2.854320] Run /init as init process\r\n",
    "Loading, please wait...\r\n",
    "Starting systemd-udevd version 252.39-1~deb12u2\r\r\n",
    "Begin: Mounting root file system ... Begin: Running /scripts/local-top ... done.\r\n",
    "Warning: fsck not present, so skipping root file system\r\n",
    "         Starting Cryptography Setup for docker-data...\r\n",
    "         Starting \x1b[0;1;39msystemd-cryptsetu…ptography Setup for docker-data...\r\r\n",
    "         Expecting device /dev/mapper/docker-data...\r\n",
    "[\x1b[0;32m  OK  \x1b[0m] Finished Cryptography Setup for swap.\r\n",
    "[  OK  ] Mounted /boot.\r\n",
    "[  OK  ] Reached target Network is Online.\r\n",
    "Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!\r\n\r\n",
    "Hit any key to stop autoboot:  2 \b\b\b 1 \b\b\b 0 \r\n",
)
KERNEL_START = (
    b"[    0.000000] Linux version 6.1.0-50-armmp-lpae (debian-kernel@lists.debian.org) (gcc-12"
    b" (Debian 12.2.0-14) 12.2.0) #1 SMP Debian 6.1.176-1 (2026-07-02)\r\n"
)
RESTARTS = (
    b"\r\nU-Boot SPL 2020.01 (Jan 06 2020 - 20:56:31 +0000)\r\nTrying to boot from MMC1\r\n",
    b"\r\n\r\nU-Boot 2024.01 (Jan 08 2024 - 10:00:00 +0000)\r\n\r\n",
    b"\r\n" + KERNEL_START,
    b"\r\n[   99.000001] reboot: Restarting system\r\n" + KERNEL_START,
)
SHELLS = (b"root@board:~# ", b"alarm@spike:~$ ", b"[root@alarm ~]# ", b"bash-5.2# ")


def stamp(rng: Random) -> bytes:
    seconds = f"[{rng.uniform(1, 400):12.6f}]"
    return (
        seconds + f"[{'T' + str(rng.randrange(300)):>6}]" * (rng.random() < 0.2)
    ).encode() + b" "


def record(rng: Random, stamped: bool) -> bytes:
    """Return a message of the kernel, which cuts into whatever is being printed."""
    text = rng.choice(KERNEL).encode() + b"\r\n"
    return stamp(rng) + text if stamped else text


def status_line(rng: Random) -> bytes:
    """Return a status line of systemd about something else."""
    unit, title = rng.choice(UNITS)
    end = rng.choice([b"\r\n", b"\r\r\n"])
    coloured = rng.random() < 0.5
    ok = b"\x1b[0;32m  OK  \x1b[0m" if coloured else b"  OK  "
    what = f"{unit} - {title}" if rng.random() < 0.5 else title
    named = b"\x1b[0;1;39m" + what.encode() + b"\x1b[0m" if coloured else what.encode()
    if rng.random() < 0.3:
        return b"         Starting " + named + b"..." + end
    verb = rng.choice([b"Started", b"Finished", b"Listening on", b"Found device"])
    return b"[" + ok + b"] " + verb + b" " + named + b"." + end


def waiting_line(rng: Random) -> bytes:
    """Return the line with the moving asterisks, which is printed over itself."""
    stars = rng.choice(["\x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*   \x1b[0m", "***   ", " ***  "])
    job = f"(1 of 2) {rng.choice(JOBS)} ({rng.randrange(60)}s / no limit)"
    over = rng.choice(["\x1bM\r\x1b[K", ""])
    return f"{over}[{stars}] {job}\r\r\n".encode()


def garbage(rng: Random) -> bytes:
    """Return a line of what a wrong speed or a loose contact makes; it ends."""
    return rng.randbytes(rng.randrange(1, 60)).replace(b"\n", b"") + b"\x18\r\n"


def boot_text(rng: Random, *, start: bool = True) -> bytes:
    """Return some boot messages, whole lines; with ``start`` perhaps from the first one on."""
    parts = [KERNEL_START] if start and rng.random() < 0.4 else []
    for _ in range(rng.randrange(4)):
        match rng.randrange(8):
            case 0 | 1 | 2:
                parts.append(rng.choice(BOOT).encode())
            case 3 | 4:
                parts.append(record(rng, stamped=rng.random() < 0.7))
            case 5 | 6:
                parts.append(status_line(rng))
            case _:
                parts.append(rng.choice([b"\0" * rng.randrange(1, 9), b"\a", garbage(rng)]))
    return b"".join(parts)


def quotation(rng: Random, question: bytes) -> tuple[str, bytes]:
    """Return text that merely quotes ``question``, and a name for the way it does."""
    words = question.rstrip()
    asked = rng.choice([question, words])
    host = rng.choice([b"board", b"spike"])
    day = b"Nov 22 10:00:00 " + host
    program = rng.choice([b"systemd-tty-ask-password-agent[123]", b"systemd[1]", b"sudo"])
    forms: dict[str, bytes] = {
        "command line": stamp(rng)
        + b"Kernel command line: console=ttySAC2,115200 root=/dev/mmcblk1p2 note='"
        + asked
        + b"' rw\r\n",
        "command line, bare": stamp(rng) + b"Kernel command line: rw note=" + asked + b"\r\n",
        "command line without stamp": b"Kernel command line: rw note=" + asked + b"\r\n",
        "syslog": day + b" " + program + b": " + asked + b"\r\n",
        "journal by kmsg": stamp(rng) + b"systemd[1]: " + asked + b"\r\n",
        "wall": b"\r\nBroadcast message from root@"
        + host
        + b" (Sat 2026-01-03 10:00:00 UTC):\r\n\r\nPassword entry required for '"
        + words
        + b"' (PID 3).\r\nPlease enter password with the systemd-tty-ask-password-agent"
        + b" tool.\r\n\r\n",
        "double quotes": b'echo: printed "' + asked + b'" to the console\r\n',
        "sudo": day + b" sudo: COMMAND=/usr/bin/systemd-ask-password " + asked + b"\r\n",
    }
    name = rng.choice(sorted(forms))
    return name, forms[name]
