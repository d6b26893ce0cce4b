"""What OpenSSH's client says while it connects, and why it failed: pure.

Its messages and its debug messages (``ssh -v``) are on standard error, in English whatever the
locale is. A jump host has a client of its own, which writes to the same place. The texts are
those of OpenSSH 8.7 (:data:`~bootwright.core.tools.OLDEST_OPENSSH`) to 10.1:
``sshconnect.c``, ``sshconnect2.c``, ``readconf.c``, ``packet.c``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from bootwright.core.secret import MASK
from bootwright.core.text import sanitize_line
from bootwright.core.tools import OLDEST_OPENSSH

CONNECTED = "debug1: Entering interactive session."
"""The line behind which the connection can be used."""

_DEBUG = re.compile(r"debug[123]: ")
_NOT_A_MESSAGE = re.compile(
    r"OpenSSH_|Warning: Permanently added|Authenticated to |@{10,}|\s*$"
    # At the end of each connection; and since 10.1 at its beginning, about weak key exchanges.
    r"|Transferred: sent |Bytes per second: sent |\*\* "
)
_COMMAND = re.compile(r"(debug[123]: Executing (?:proxy |proxy dialer )?command: ).*")
"""A ProxyCommand or a ``Match exec`` of the configuration: it may have a password in it."""
_PROXIED = "UNKNOWN port 65535"
"""The client's name for a server behind a jump host or a ProxyCommand, when that has ended."""

_MOST_CHARACTERS = 300
"""Characters of a message that an error has at most: a ProxyCommand may write anything."""

_LABEL = r"(?:pass(?:word|wd|phrase)|pwd|token|secret|api[-_]?key|authorization|cookie)"
_CREDENTIALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # password=word, "token": "word", Authorization: Bearer word
        rf"""{_LABEL}["']?\s*[=:]\s*["']?(?:(?:bearer|basic)\s+)?([^\s"',;&]+)""",
        # --password word, sshpass -p word, sshpass -pword
        rf"""--?{_LABEL}\s+["']?([^\s"']+)""",
        r"""sshpass\s+-p\s*["']?([^\s"']+)""",
        # https://name:word@host
        r"://[^\s/:@]*:([^\s/@]+)@",
    )
)
"""How a password or the like is recognised in a command line, or in what a program writes."""

_SHORTEST = 4
"""Characters of a credential at least: a shorter one is part of many words."""

_MOST_MESSAGES = 8
"""How many messages of the client an error has at most: the last ones."""


class Failure(Enum):
    """Why there is no connection."""

    CONFIGURATION = auto()
    """The client's configuration has an error."""
    UNKNOWN_KEY = auto()
    """No host key is known for the target."""
    WRONG_KEY = auto()
    """The host key of the target, or of a jump host, is another one, is revoked, or not known."""
    LOGIN = auto()
    """The target or a jump host refuses the login."""
    ALGORITHMS = auto()
    """Client and server have no algorithm in common."""
    UNREACHABLE = auto()
    """All else: it may be better in a moment."""


@dataclass(frozen=True)
class ClientLog:
    """The lines that the client has written, without their ends.

    Attributes:
        lines: of the whole connection, in order.
    """

    lines: tuple[str, ...]

    @property
    def messages(self) -> list[str]:
        """What is for a person: not the debug messages. Safe to show on a terminal."""
        texts = [
            sanitize_line(line.strip())[:_MOST_CHARACTERS]
            for line in self.lines
            if not _DEBUG.match(line) and not _NOT_A_MESSAGE.match(line)
        ]
        return [text for text in texts if text][-_MOST_MESSAGES:]

    @property
    def without_commands(self) -> tuple[str, ...]:
        """The lines as they may be in the log of a run: without commands of the configuration."""
        return tuple(_COMMAND.sub(r"\1***", line) for line in self.lines)

    @property
    def lost(self) -> str:
        """What the client wrote last about a connection that it had; empty if nothing."""
        # The client of a jump host writes the same line, before.
        after = "\n".join(self.lines).rpartition(CONNECTED)[2]
        return next(reversed(ClientLog(tuple(after.split("\n"))).messages), "")

    @property
    def proxy_failed(self) -> bool:
        """Whether the jump host or the ProxyCommand ended before the server's greeting."""
        # Who sends a message for the disconnection is the target itself.
        return any(
            _PROXIED in line and "isconnect from " not in line and "isconnected from " not in line
            for line in self.lines
        )

    @property
    def key_message(self) -> str:
        """The message that says what is wrong with a host key."""
        about = re.compile(r"Host key for |No \S+ host key is known|.*revoked", re.IGNORECASE)
        return next(filter(about.match, self.messages), "Host key verification failed.")

    @property
    def proxy_messages(self) -> str:
        """What the client of the jump host, or the ProxyCommand, wrote."""
        own = ("kex_exchange_identification: ", "banner exchange: ")
        texts = [
            text for text in self.messages if _PROXIED not in text and not text.startswith(own)
        ]
        return "; ".join(texts) or "it ended without a message"

    @property
    def host_key(self) -> tuple[str, str] | None:
        """The type (such as ``ED25519``) and the fingerprint of the key that the target showed."""
        # A jump host's key is shown before it.
        found = self._last(r"debug1: Server host key: (\S+) (\S+)")
        if found is None:
            return None
        kind = found[0].removeprefix("sk-").removeprefix("ssh-")
        return re.split("[-@]", kind)[0].upper(), found[1]

    @property
    def wanted_next(self) -> str | None:
        """What the server wants beside a key that it accepted; ``None`` if it wants no more."""
        partial = [number for number, line in enumerate(self.lines) if "partial success" in line]
        if not partial:
            return None
        rest = ClientLog(self.lines[partial[-1] :])
        found = rest._last(r"debug1: Authentications that can continue: (\S+)()")
        return sanitize_line(found[0]).replace(",", " or ") if found else "something else"

    def offered(self) -> list[str]:
        """Return the keys that the server was offered, each with its fingerprint."""
        found = []
        for line in self.lines:
            if match := re.match(r"debug1: Offering public key: (.*) \S+ (SHA256:\S+)(.*)", line):
                where = " in the agent" if "agent" in match[3].split() else ""
                found.append(sanitize_line(f"{match[1]}{where} ({match[2]})"))
        return list(dict.fromkeys(found))

    def unusable(self) -> list[str]:
        """Return the keys that could not be used, each with the reason."""
        found = [
            f"{match[1]}: {match[2]}"
            for line in self.lines
            if (match := re.match(r'Load key "(.*)": (.*)', line))
        ]
        named = {text.split(": ")[0] for text in found}
        accepted = self._last(r"debug1: Server accepts key: (.*) \S+ (SHA256:\S+)")
        if accepted and accepted[0] not in named and self.wanted_next is None:
            found.append(f"{accepted[0]}: has a passphrase; run ssh-add first")
        return list(map(sanitize_line, found))

    def _last(self, pattern: str) -> tuple[str, str] | None:
        for line in reversed(self.lines):
            if match := re.match(pattern, line):
                return match[1], match[2]
        return None


def without_credentials(lines: Sequence[str], known: Sequence[str] = ()) -> tuple[str, ...]:
    """Return lines with ``***`` for each credential that can be recognised.

    A ProxyCommand writes what it likes to where the client's messages are. A credential is one
    that has its name beside it, there or in the command line of the ProxyCommand, which the client
    quotes.

    Args:
        lines: what was written.
        known: credentials that are known otherwise.
    """
    found = {
        match[1]
        for line in lines
        for pattern in _CREDENTIALS
        for match in pattern.finditer(line)
        if not match[1].startswith("%")  # the client's own placeholders
    }
    # The longest first: one may be a part of another.
    words = sorted({*found, *known}, key=len, reverse=True)
    words = [word for word in words if len(word) >= _SHORTEST]
    if not words:
        return tuple(lines)
    any_of = re.compile("|".join(map(re.escape, words)))
    return tuple(any_of.sub(MASK, line) for line in lines)


def failure_of(log: ClientLog) -> Failure:
    """Return why the client has ended without a connection."""
    text = "\n".join(log.messages)
    if re.search(r"[Bb]ad configuration option|Bad owner or permissions on|jumphost loop", text):
        return Failure.CONFIGURATION
    # PAM lets nobody but root in while the board starts or shuts down; pam_nologin(8).
    if "pam_nologin" in text:
        return Failure.UNREACHABLE
    if "Host key verification failed" in text:
        unknown = re.search(r"^No \S+ host key is known for ", text, re.MULTILINE)
        return Failure.UNKNOWN_KEY if unknown and not log.proxy_failed else Failure.WRONG_KEY
    if "Permission denied (" in text or "Too many authentication failures" in text:
        return Failure.LOGIN
    if "Unable to negotiate with" in text:
        return Failure.ALGORITHMS
    return Failure.UNREACHABLE


def why_unreachable(log: ClientLog) -> str:
    """Return in words why no server can be reached."""
    text = "\n".join(log.messages)
    if "pam_nologin" in text:
        return "it is starting or shutting down: only root may log in"
    if log.proxy_failed:
        return f"the jump host or proxy of your SSH configuration failed: {log.proxy_messages}"
    if match := re.search(r"Could not resolve hostname \S+: (.*)", text):
        return f"the name cannot be resolved: {match[1]}"
    if match := re.search(r"connect to host \S+ port \d+: (.*)", text):
        return match[1]
    if "timed out" in text:
        return "no answer"
    return f"no SSH server answers there ({'; '.join(log.messages) or 'the client wrote nothing'})"


def agent_hangs(log: ClientLog) -> str:
    """Return in words that the client still waits for the operator's SSH agent; empty if not.

    Args:
        log: what it had written when its time was over.
    """
    text = "\n".join(log.lines)
    connected = text.rpartition("debug1: Server host key: ")[2]
    # It asks the agent for its keys before it asks the server anything.
    if "SSH2_MSG_NEWKEYS received" in connected and not re.search(
        r"Will attempt key|Authentications that can continue", connected
    ):
        return "the SSH agent does not answer"
    if log.lines and log.lines[-1].startswith("debug1: Server accepts key: "):
        return "the SSH agent (or the security key) does not sign with the key that is accepted"
    return ""


def login_refused(log: ClientLog, where: str) -> str:
    """Return the error for a server that accepts none of the keys.

    Args:
        log: what the client wrote.
        where: the board, with its address.
    """
    if log.proxy_failed:
        return (
            f"{where}: the jump host of your SSH configuration refuses to log us in:"
            f" {log.proxy_messages}. Log in to it once by yourself: inv ssh"
        )
    if wanted := log.wanted_next:
        return (
            f"{where}: the key is accepted, but the server wants {wanted} too. Only inv ssh can"
            " answer that; for the other commands let a key alone be enough"
            " (AuthenticationMethods in the board's sshd_config)"
        )
    offered, unusable = log.offered(), log.unusable()
    lines = [f"{where}: the server refuses to log us in"]
    lines += [f"  offered:  {text}" for text in offered]
    lines += [f"  unusable: {text}" for text in unusable]
    if not offered:
        lines.append("  there was no key to offer")
    others = [text for text in log.messages if not text.startswith(("Load key", "Permissions "))]
    lines += [f"  ssh: {text}" for text in others[-3:]]
    lines.append(
        "  Set identity_file (and user) in bootwright.toml to the key that the card was made for."
    )
    return "\n".join(lines)


def lines_of(data: Sequence[bytes], known: Sequence[str] = ()) -> ClientLog:
    """Return the log that consists of these lines, without credentials.

    Args:
        data: the lines.
        known: see :func:`without_credentials`.
    """
    lines = [line.decode("utf-8", "replace").rstrip("\r\n") for line in data]
    return ClientLog(without_credentials(lines, known))


def configuration_error(log: ClientLog) -> str:
    """Return the error for a configuration that the client does not accept.

    Args:
        log: what the client wrote.
    """
    if any(re.match(r"command-line.*Bad configuration option", text) for text in log.messages):
        oldest = ".".join(map(str, OLDEST_OPENSSH))
        return (
            f"the ssh of this machine is older than OpenSSH {oldest}, which Bootwright needs; inv"
            f" doctor shows its version ({'; '.join(log.messages)})"
        )
    return f"your SSH configuration: {'; '.join(log.messages)}"
