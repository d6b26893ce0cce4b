"""What sshd makes of its configuration for one account: as ``sshd -T -C user=NAME`` would show it.

Source: sshd_config(5) and servconf.c of OpenSSH 9.2. The first value of a keyword wins, except for
those that collect values; an ``Include`` counts where it stands; in a ``Match`` block that applies,
the first value replaces the one outside of all blocks. Pure.
"""

import base64
import binascii
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

SSHD_CONFIG = "/etc/ssh/sshd_config"

DEFAULT_PORT = 22

_LEAST_RSA_BITS = 1024
"""Bits of the shortest RSA key without RequiredRSASize (``SSH_RSA_MINIMUM_MODULUS_SIZE``)."""

_FOLDER = "/etc/ssh"
"""The folder for the names of included files that are relative."""

_INCLUDE_DEPTH = 16
"""The most levels of ``Include`` (``SERVCONF_MAX_DEPTH``)."""

_COLLECTING = frozenset(
    ("port", "listenaddress", "hostkey", "allowusers", "denyusers", "allowgroups", "denygroups")
)
"""Keywords that add to what was set before."""

_OLD_NAMES = {
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "skeyauthentication": "kbdinteractiveauthentication",
    "challengeresponseauthentication": "kbdinteractiveauthentication",
}

_LINE = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*)")
_WORD = re.compile(r'"([^"]*)"|\'([^\']*)\'|(?P<comment>#.*)|([^\s"\'#]\S*)')


@dataclass(frozen=True)
class SshdLine:
    """The values of a keyword, and the file and number of the line that sets it."""

    values: tuple[str, ...]
    path: str
    line: int


@dataclass
class _Scope:
    """What was set outside of all ``Match`` blocks, or in those that apply."""

    first: dict[str, SshdLine] = field(default_factory=dict)
    collected: dict[str, list[SshdLine]] = field(default_factory=dict)

    def add(self, keyword: str, setting: SshdLine) -> None:
        if keyword in _COLLECTING:
            self.collected.setdefault(keyword, []).append(setting)
        else:
            self.first.setdefault(keyword, setting)


@dataclass(frozen=True)
class SshdSettings:
    """The settings in effect for one account.

    ``everywhere`` has what is set outside of all ``Match`` blocks, ``matched`` what the blocks
    set that apply to the account. ``is_too_deep``: there are more levels of ``Include`` than sshd
    reads, so it does not start.
    """

    everywhere: _Scope
    matched: _Scope
    is_too_deep: bool

    def first(self, keyword: str) -> SshdLine | None:
        """Return the setting of a keyword whose first value wins; ``None``: sshd's default."""
        return self.matched.first.get(keyword) or self.everywhere.first.get(keyword)

    def collected(self, keyword: str) -> list[SshdLine]:
        """Return the settings of a keyword that collects values, in their order."""
        return self.matched.collected.get(keyword) or self.everywhere.collected.get(keyword, [])

    def outside_blocks(self, keyword: str) -> SshdLine | None:
        """Return the setting that a line at the start of sshd_config would replace."""
        return self.everywhere.first.get(keyword)


def include_patterns(text: str) -> list[str]:
    """Return the patterns of files that ``text`` includes, as absolute paths."""
    return [
        posixpath.join(_FOLDER, word)
        for _, keyword, words in _lines(text)
        if keyword == "include"
        for word in words
    ]


def read_sshd_config(
    files: Mapping[str, str], user: str, groups: Collection[str], port: int, before: str = ""
) -> SshdSettings:
    """Return the settings that are in effect for an account.

    What a ``Match`` block asks of the connection (address, host) is not known before: such a block
    is left out, unless it applies to every connection.

    Args:
        files: the text of :data:`SSHD_CONFIG` and of files that it may include, by path.
        user: the name of the account.
        groups: the names of its groups.
        port: the port that the connection comes to.
        before: the name in ``files`` of what is read before :data:`SSHD_CONFIG`: the options.
    """
    reader = _Reader(files, user, groups, port)
    reader.read(before, in_block=False, is_active=True, depth=0)
    reader.read(SSHD_CONFIG, in_block=False, is_active=True, depth=0)
    return SshdSettings(reader.everywhere, reader.matched, reader.is_too_deep)


class _Reader:
    def __init__(
        self, files: Mapping[str, str], user: str, groups: Collection[str], port: int
    ) -> None:
        self.everywhere, self.matched = _Scope(), _Scope()
        self.is_too_deep = False
        self._files, self._user, self._groups, self._port = files, user, groups, port

    def read(self, path: str, in_block: bool, is_active: bool, depth: int) -> None:
        """Read a file; ``is_active``: it is included at a place that applies to the account."""
        if depth > _INCLUDE_DEPTH or self.is_too_deep:
            self.is_too_deep = True
            return
        can_match = is_active
        for number, keyword, words in _lines(self._files.get(path, "")):
            if keyword == "match":
                in_block, is_active = True, can_match and self._applies(words)
            elif keyword == "include":
                for word in words:
                    for name in self._included(posixpath.join(_FOLDER, word)):
                        self.read(name, in_block, is_active, depth + 1)
            elif is_active:
                scope = self.matched if in_block else self.everywhere
                name = _OLD_NAMES.get(keyword, keyword)
                scope.add(name, SshdLine(tuple(words), path, number))

    def _included(self, pattern: str) -> list[str]:
        return sorted(path for path in self._files if _path_matches(path, pattern))

    def _applies(self, words: list[str]) -> bool:
        words = " ".join(words).replace("=", " ").split()
        if [word.lower() for word in words] == ["all"]:
            return True
        pairs = list(zip(words[::2], words[1::2], strict=False))
        return bool(pairs) and all(self._meets(kind.lower(), value) for kind, value in pairs)

    def _meets(self, kind: str, patterns: str) -> bool:
        match kind:
            case "user":
                return list_matches(self._user, patterns) is True
            case "group":
                answers = [list_matches(group, patterns) for group in self._groups]
                return False not in answers and True in answers
            case "localport":
                return str(self._port) in patterns.split(",")
            case _:
                return patterns in ("*", "0.0.0.0/0")


def _lines(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number, the keyword in lower case, and the arguments of each line that has any."""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _LINE.fullmatch(line):
            words: list[str] = []
            for word in _WORD.finditer(match[2]):
                if word["comment"] is not None:
                    break
                words.append(next(part for part in word.groups() if part is not None))
            if words:
                yield number, match[1].lower(), words


def _path_matches(path: str, pattern: str) -> bool:
    """Return whether a shell pattern matches a path; ``*`` does not match a slash."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def pattern_matches(text: str, pattern: str) -> bool:
    """Return whether a pattern of sshd's matches: ``*`` and ``?`` only, no brackets."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def list_matches(text: str, patterns: str) -> bool | None:
    """Return whether a list of patterns matches.

    ``False``: one with ``!`` does. ``None``: none does.
    """
    found = None
    for pattern in patterns.split(","):
        if pattern.startswith("!"):
            if pattern_matches(text, pattern[1:]):
                return False
        elif pattern_matches(text, pattern):
            found = True
    return found


def unusable_for(
    settings: SshdSettings,
    user: str,
    home: str,
    groups: Collection[str],
    keys: Collection[str],
    host_keys: Collection[str],
) -> list[str]:
    """Return why ``user`` could not log in with one of these keys; nothing if it could.

    Args:
        settings: in effect for the account; see :func:`read_sshd_config`.
        user: the name of the account.
        home: its home, as in ``/etc/passwd``.
        groups: the names of its groups.
        keys: the public keys that may log in, one line each.
        host_keys: the public keys of the board, one line each.
    """
    reasons = _who_reasons(settings, user, groups)
    least = _least_rsa_bits(settings)
    key_kinds, host_key_kinds = _kinds(keys, least), _kinds(host_keys, least)
    if keys and not key_kinds:
        setting = settings.first("requiredrsasize")
        reasons.append(
            f"{_described('requiredrsasize', setting) if setting else 'sshd'} accepts no RSA key"
            f" with less than {least} bits, and there is no other key"
        )
    if settings.is_too_deep:
        reasons.append(f"files that sshd_config includes include one another ({SSHD_CONFIG})")
    for keyword, is_usable in (
        ("pubkeyauthentication", lambda values: values[0].lower() == "yes"),
        ("authenticationmethods", _is_key_enough),
        ("authorizedkeysfile", lambda values: any(_is_our_key_file(v, user, home) for v in values)),
        ("forcecommand", lambda values: values[0].lower() == "none"),
        ("chrootdirectory", lambda values: values[0].lower() == "none"),
        ("maxsessions", lambda values: values[0] != "0"),
        ("refuseconnection", lambda values: values[0].lower() == "no"),
        ("hostkeyalgorithms", lambda values: _accepts_a_key(values[0], host_key_kinds)),
        (
            "pubkeyacceptedalgorithms",
            lambda values: not key_kinds or _accepts_a_key(values[0], key_kinds),
        ),
    ):
        setting = settings.first(keyword)
        if setting is not None and not is_usable(setting.values):
            reasons.append(_described(keyword, setting))
    permit = settings.first("permitrootlogin")
    if user == "root" and permit and permit.values[0].lower() in ("no", "forced-commands-only"):
        reasons.append(_described("permitrootlogin", permit))
    return reasons


def _who_reasons(settings: SshdSettings, user: str, groups: Collection[str]) -> list[str]:
    """Return what the lists of users and groups that may log in say against ``user``."""
    reasons = []
    for keyword in ("denyusers", "denygroups"):
        for setting in settings.collected(keyword):
            users = keyword == "denyusers"
            if any(
                _user_matches(user, value, from_anywhere=True)
                if users
                else any(pattern_matches(group, value) for group in groups)
                for value in setting.values
            ):
                reasons.append(_described(keyword, setting))
    allow_users = settings.collected("allowusers")
    values = [value for setting in allow_users for value in setting.values]
    if values and not any(_user_matches(user, value, from_anywhere=False) for value in values):
        reasons.append(_described("allowusers", allow_users[0]))
    allow_groups = settings.collected("allowgroups")
    values = [value for setting in allow_groups for value in setting.values]
    if values and not any(pattern_matches(group, value) for group in groups for value in values):
        reasons.append(_described("allowgroups", allow_groups[0]))
    return reasons


def _user_matches(user: str, pattern: str, from_anywhere: bool) -> bool:
    """Return whether ``USER`` or ``USER@HOST`` matches; ``from_anywhere``: only for every host."""
    name, at, host = pattern.partition("@")
    return pattern_matches(user, name) and (not at or not from_anywhere or host == "*")


def _is_key_enough(methods: tuple[str, ...]) -> bool:
    return any(
        method.lower() == "any"
        or all(part.partition(":")[0] == "publickey" for part in method.lower().split(","))
        for method in methods
    )


def _is_our_key_file(value: str, user: str, home: str) -> bool:
    """Return whether a value of AuthorizedKeysFile names the file in the home of the account."""
    names = {"%h": home, "%u": user, "%%": "%"}
    path = re.sub("%[hu%]", lambda match: names[match[0]], value)
    # A name that is not absolute is one in the home. POSIX keeps two slashes at the start.
    found, own = (posixpath.join(home, name) for name in (path, ".ssh/authorized_keys"))
    return posixpath.normpath(f"/{found.lstrip('/')}") == posixpath.normpath(own)


def _accepts_a_key(algorithms: str, key_kinds: Collection[str]) -> bool:
    """Return whether a list of algorithms leaves one for a key of these kinds."""
    mark, names = (algorithms[0], algorithms[1:]) if algorithms[0] in "+-^" else ("", algorithms)
    if mark in ("+", "^"):
        return True
    for kind in key_kinds:
        own = ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
        listed = [list_matches(name, names) is True for name in own]
        if not all(listed) if mark == "-" else any(listed):
            return True
    return False


def _least_rsa_bits(settings: SshdSettings) -> int:
    setting = settings.first("requiredrsasize")
    value = setting.values[0] if setting else ""
    return int(value) if value.isascii() and value.isdigit() else _LEAST_RSA_BITS


def _kinds(keys: Collection[str], least: int) -> frozenset[str]:
    """Return the kinds of the keys, such as ``ssh-ed25519``, without those that are too short."""
    return frozenset(
        key.split()[0]
        for key in keys
        if not key.startswith("ssh-rsa ") or (_rsa_bits(key) or least) >= least
    )


def _rsa_bits(key: str) -> int | None:
    """Return the bits of an RSA key: its third field, the modulus (RFC 4253, section 6.6)."""
    try:
        rest = base64.b64decode(key.split()[1], validate=True)
    except (binascii.Error, ValueError, IndexError):
        return None
    fields = []
    while len(rest) >= 4:
        end = 4 + int.from_bytes(rest[:4], "big")
        fields.append(rest[4:end])
        rest = rest[end:]
    return int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else None


def listen_ports(settings: SshdSettings, by_option: Collection[int] = ()) -> tuple[int, ...]:
    """Return the TCP ports that sshd listens on for other machines; none: on loopback only.

    The ports of the option ``-p``, in ``by_option``, count in place of those of ``Port``.
    """
    ports = (
        list(by_option)
        or [
            int(setting.values[0])
            for setting in settings.collected("port")
            if setting.values[0].isascii() and setting.values[0].isdigit()
        ]
        or [DEFAULT_PORT]
    )
    listen = settings.collected("listenaddress")
    found: list[int] = [] if listen else ports
    for setting in listen:
        host, port = host_and_port(setting.values[0])
        if not is_loopback(host):
            found += [port] if port else ports
    return tuple(dict.fromkeys(found))


def is_loopback(host: str) -> bool:
    """Return whether only the board itself can reach an address."""
    return host.startswith("127.") or host in ("::1", "localhost")


def host_and_port(value: str) -> tuple[str, int | None]:
    """Return the host of ``HOST``, ``HOST:PORT`` or ``[HOST]:PORT``, and its port, if any."""
    match = re.fullmatch(r"\[(.*)\](?::(\d{1,5}))?", value) or re.fullmatch(
        r"([^:]*):(\d{1,5})", value
    )
    if match is None:
        return value, None
    return match[1], int(match[2]) if match[2] else None


_NAMES = {
    name.lower(): name
    for name in (
        *("AllowUsers", "DenyUsers", "AllowGroups", "DenyGroups", "PubkeyAuthentication"),
        *("AuthenticationMethods", "AuthorizedKeysFile", "ForceCommand", "ChrootDirectory"),
        *("MaxSessions", "PubkeyAcceptedAlgorithms", "PermitRootLogin", "RefuseConnection"),
        *("HostKeyAlgorithms", "RequiredRSASize"),
    )
}


def _described(keyword: str, setting: SshdLine) -> str:
    return f"{_NAMES[keyword]} {' '.join(setting.values)} ({setting.path}, line {setting.line})"
