"""Addresses on the web, whose user name, password and query (which may be a token) are secret."""

import re

from bootwright.core.secret import MASK, MASKER

_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)@")
_QUERY = re.compile(r"\?([^#]+)")

# The same within a text, where an address ends at a blank, a quotation mark or an angle bracket.
_USER_IN_TEXT = re.compile(r"(?<=://)[^/@\s\"<>]+(?=@)")
_QUERY_IN_TEXT = re.compile(r"(\bhttps?://[^\s?\"'<>]+\?)[^\s\"'<>]+")


def keep_secret(address: str) -> None:
    """Have what is secret in an address masked from now on, wherever a text repeats it."""
    if found := _AUTHORITY.match(address):
        MASKER.add(found[1].encode())
        MASKER.add(found[1].partition(":")[2].encode())
    if found := _QUERY.search(address):
        MASKER.add(found[1].encode())


def keep_proxy_secret(address: str) -> None:
    """The same for the address of a proxy, which has no path: a password may hold any character."""
    user = address.partition("://")[2] or address
    if "@" in user:
        user = user.rpartition("@")[0]
        MASKER.add(user.encode())
        MASKER.add(user.partition(":")[2].encode())


def without_secrets(address: str) -> str:
    """Return an address for a record or a message, with ``***`` for what is secret in it."""
    if found := _AUTHORITY.match(address):
        address = address[: found.start(1)] + MASK + address[found.end(1) :]
    return _QUERY.sub(f"?{MASK}", address, count=1)


def mask_addresses(text: str) -> str:
    """Return a text with ``***`` for what is secret in the addresses in it, known or not."""
    if "://" not in text:
        return text
    return _QUERY_IN_TEXT.sub(rf"\1{MASK}", _USER_IN_TEXT.sub(MASK, text))
