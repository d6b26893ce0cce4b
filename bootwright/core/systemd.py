"""systemd's own rules for names."""


def unit_name(text: str) -> str:
    """Return ``text`` escaped for a unit's name, as ``systemd-escape`` does."""
    escaped = "".join(
        "-"
        if char == "/"
        else char
        if char.isascii() and (char.isalnum() or char in ":_.")
        else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in text
    )
    return "\\x2e" + escaped[1:] if escaped.startswith(".") else escaped
