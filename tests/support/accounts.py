"""Which accounts of a shadow file a password opens."""


def logins_with_password(shadow: str) -> list[str]:
    """Return the accounts that a password (an empty one too) opens."""
    rows = (line.split(":") for line in shadow.splitlines())
    return [row[0] for row in rows if len(row) > 1 and not row[1].startswith(("!", "*"))]
