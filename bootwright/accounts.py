"""Editing the text of ``passwd``, ``shadow`` and ``group``. Pure."""

from dataclasses import dataclass

NO_PASSWORD = "*"
"""Matches no password. Not ``!``: sshd without PAM refuses a locked account's keys too."""

FIRST_UID = 1000


@dataclass(frozen=True)
class Account:
    """A login's numbers and home."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class Accounts:
    """The three files as text."""

    passwd: str
    shadow: str
    group: str


def find(accounts: Accounts, name: str) -> Account | None:
    """Return the account ``name``, if there is one."""
    for line in accounts.passwd.splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 6:
            return Account(name, int(fields[2]), int(fields[3]), fields[5])
    return None


def without_passwords(shadow: str) -> str:
    """Return ``shadow`` with no account that a password opens."""
    lines = []
    for line in shadow.splitlines():
        fields = line.split(":")
        if len(fields) > 1 and not fields[1].startswith(("!", "*")):
            fields[1] = NO_PASSWORD
        lines.append(":".join(fields))
    return "".join(f"{line}\n" for line in lines)


def logins_with_password(shadow: str) -> list[str]:
    """Return the accounts that a password (an empty one too) opens."""
    rows = (line.split(":") for line in shadow.splitlines())
    return [row[0] for row in rows if len(row) > 1 and not row[1].startswith(("!", "*"))]


def with_account(accounts: Accounts, name: str) -> Accounts:
    """Return the files with a new account ``name`` of its own group and no password."""
    taken = {
        int(fields[2])
        for text in (accounts.passwd, accounts.group)
        for fields in (line.split(":") for line in text.splitlines())
        if len(fields) > 2 and fields[2].isdigit()
    }
    number = next(n for n in range(FIRST_UID, 65534) if n not in taken)
    return Accounts(
        passwd=f"{accounts.passwd}{name}:x:{number}:{number}::/home/{name}:/bin/bash\n",
        # 1: changed on the first day of 1970; 0 would force a change at login.
        shadow=f"{accounts.shadow}{name}:{NO_PASSWORD}:1:0:99999:7:::\n",
        group=f"{accounts.group}{name}:x:{number}:\n",
    )
