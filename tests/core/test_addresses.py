"""Addresses: what is secret in them is neither recorded nor shown."""

import pytest

from bootwright.core.addresses import keep_proxy_secret, keep_secret, without_secrets
from bootwright.core.secret import mask


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.org/a/b.tar.gz", "https://example.org/a/b.tar.gz"),
        ("https://joe:pA55word1@example.org:8443/x", "https://***@example.org:8443/x"),
        ("HTTP://example.org/x?token=t0ken123", "HTTP://example.org/x?***"),
        ("https://example.org/@scope/x", "https://example.org/@scope/x"),
    ],
)
def test_a_record_has_an_address_without_its_secrets(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


def test_what_is_secret_in_an_address_is_masked_everywhere() -> None:
    keep_secret("https://joe:pA55word1@example.org/x?token=t0ken123")
    text = mask("curl: pA55word1 was refused for x?token=t0ken123")
    assert text == "curl: *** was refused for x?***"


@pytest.mark.parametrize("scheme", ["", "http://", "socks5h://"])
@pytest.mark.parametrize(
    "password", ["pr0xypassw", "a@pr0xypassw", "my pr0xypassw", "a/pr0xypassw"]
)
def test_the_password_of_a_proxy_is_masked(scheme: str, password: str) -> None:
    address = f"{scheme}joe:{password}@proxy.example.org:3128"
    keep_proxy_secret(address)
    assert "pr0xypassw" not in mask(f"Unsupported proxy syntax in '{address}'")
    assert "proxy.example.org" in mask(address)
