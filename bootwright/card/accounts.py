"""Editing the text of ``passwd``, ``shadow`` and ``group``. Pure."""

from dataclasses import dataclass

from bootwright.core.errors import InputError

NO_PASSWORD = "*"
"""Matches no password. Not ``!``: sshd without PAM refuses a locked account's keys too."""

FIRST_UID = 1000

_AGES = ("1", "0", "99999", "7", "", "", "")
"""Changed on the first day of 1970 (0 would force a change at login), never expires."""


@dataclass(frozen=True)
class Account:
    """A login's numbers, home and shell."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    @property
    def can_log_in(self) -> bool:
        """Whether its shell is one."""
        return not self.shell.endswith(("/nologin", "/false"))


@dataclass(frozen=True)
class Accounts:
    """The three files as text."""

    passwd: str
    shadow: str
    group: str


def find(accounts: Accounts, name: str) -> Account | None:
    """Return the account ``name``, if there is one.

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


def without_passwords(accounts: Accounts) -> Accounts:
    """Return the files with no account that a password opens.

    A password may also be in ``passwd`` itself, and an account may have no line in ``shadow``;
    it gets one.
    """
    passwd = [line.split(":") for line in accounts.passwd.splitlines() if line]
    shadow = [line.split(":") for line in accounts.shadow.splitlines() if line]
    shadowed = {fields[0] for fields in shadow}
    shadow += [[fields[0], NO_PASSWORD, *_AGES] for fields in passwd if fields[0] not in shadowed]
    for fields in shadow:
        if len(fields) > 1 and not fields[1].startswith(("!", "*")):
            fields[1] = NO_PASSWORD
    for fields in passwd:
        if len(fields) > 1:
            fields[1] = "x"
    return Accounts(_joined(passwd), _joined(shadow), accounts.group)


def _joined(rows: list[list[str]]) -> str:
    return "".join(":".join(fields) + "\n" for fields in rows)


def with_account(accounts: Accounts, name: str) -> Accounts:
    """Return the files with a new account ``name`` of its own group and no password."""
    taken = {
        int(fields[2])
        for text in (accounts.passwd, accounts.group)
        for fields in (line.split(":") for line in text.splitlines())
        if len(fields) > 2 and fields[2].isdigit()
    }
    number = next(n for n in range(FIRST_UID, 65534) if n not in taken)
    new = ":".join([name, NO_PASSWORD, *_AGES])
    return Accounts(
        passwd=_ended(accounts.passwd) + f"{name}:x:{number}:{number}::/home/{name}:/bin/bash\n",
        shadow=f"{_ended(accounts.shadow)}{new}\n",
        group=f"{_ended(accounts.group)}{name}:x:{number}:\n",
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
