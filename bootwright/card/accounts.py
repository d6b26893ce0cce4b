"""Editing the text of ``passwd``, ``shadow`` and ``group``. Pure."""

from dataclasses import dataclass

from bootwright.core.errors import InputError

NO_PASSWORD = "*"
"""The password field of an account that no password opens.

Not ``!``, which locks the account: sshd without PAM then refuses its SSH keys too.
"""

FIRST_UID = 1000
"""The lowest user number of a new account."""

_PASSWORD_AGES = ("1", "0", "99999", "7", "", "", "")
"""The remaining fields of a line of ``shadow``: the password was changed on day 1 after 1970-01-01
(0 would force a change at the first login) and does not expire.
"""


@dataclass(frozen=True)
class Account:
    """An account: its user and group numbers, home directory and shell."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def can_log_in(self) -> bool:
        """Whether its shell allows a login."""
        return not self.shell.endswith(("/nologin", "/false", "/true"))

    @property
    def shell_path(self) -> str:
        """Its shell; an empty field in ``passwd`` stands for ``/bin/sh`` (passwd(5))."""
        return self.shell or "/bin/sh"

    @property
    def ssh_folder(self) -> str:
        """The folder of its ``authorized_keys``."""
        return f"{self.home.rstrip('/')}/.ssh"


@dataclass(frozen=True)
class Accounts:
    """The text of the files ``/etc/passwd``, ``/etc/shadow`` and ``/etc/group``."""

    passwd: str
    shadow: str
    group: str


def find_account(accounts: Accounts, name: str) -> Account | None:
    """Return the account ``name``; ``None`` if there is none.

    Raises:
        InputError: its line in ``passwd`` is malformed.
    """
    for line in accounts.passwd.splitlines():
        fields = line.split(":")
        if fields[0] == name:
            if len(fields) != 7 or not (fields[2].isdigit() and fields[3].isdigit()):
                raise InputError(f"the root file system's /etc/passwd has a broken line for {name}")
            return Account(name, int(fields[2]), int(fields[3]), fields[5], fields[6])
    return None


def groups_of(accounts: Accounts, account: Account) -> frozenset[str]:
    """Return the names of the account's groups: its own one, and those that list it."""
    rows = (line.split(":") for line in accounts.group.splitlines())
    return frozenset(
        fields[0]
        for fields in rows
        if len(fields) > 3
        and (fields[2] == str(account.gid) or account.name in fields[3].split(","))
    )


def without_passwords(accounts: Accounts, login: str) -> Accounts:
    """Return the files changed so that no password opens an account, and a key opens ``login``.

    A password in ``passwd`` itself is removed too. An account without a line in ``shadow`` gets
    one. The account ``login`` is neither locked (``!``) nor expired, and its password has no age:
    PAM asks about these also when the login is by a key (pam_unix(8), shadow(5)).
    """
    passwd = [line.split(":") for line in accounts.passwd.splitlines() if line]
    shadow = [line.split(":") for line in accounts.shadow.splitlines() if line]
    shadowed = {fields[0] for fields in shadow}
    shadow += [
        [fields[0], NO_PASSWORD, *_PASSWORD_AGES] for fields in passwd if fields[0] not in shadowed
    ]
    for fields in shadow:
        if len(fields) > 1 and not fields[1].startswith(("!", "*")):
            fields[1] = NO_PASSWORD
        if fields[0] == login:
            fields[1:] = [NO_PASSWORD, *_PASSWORD_AGES]
    for fields in passwd:
        if len(fields) > 1:
            fields[1] = "x"
    return Accounts(_file_text(passwd), _file_text(shadow), accounts.group)


def _file_text(rows: list[list[str]]) -> str:
    return "".join(":".join(fields) + "\n" for fields in rows)


def with_account(accounts: Accounts, name: str) -> Accounts:
    """Return the files with a new account ``name``, which has its own group and no password."""
    taken = {
        int(fields[2])
        for text in (accounts.passwd, accounts.group)
        for fields in (line.split(":") for line in text.splitlines())
        if len(fields) > 2 and fields[2].isdigit()
    }
    number = next(n for n in range(FIRST_UID, 65534) if n not in taken)
    new = ":".join([name, NO_PASSWORD, *_PASSWORD_AGES])
    return Accounts(
        passwd=_end_line(accounts.passwd) + f"{name}:x:{number}:{number}::/home/{name}:/bin/bash\n",
        shadow=f"{_end_line(accounts.shadow)}{new}\n",
        group=f"{_end_line(accounts.group)}{name}:x:{number}:\n",
    )


def _end_line(text: str) -> str:
    """Return ``text`` with a line end after its last line."""
    return text if not text or text.endswith("\n") else f"{text}\n"
