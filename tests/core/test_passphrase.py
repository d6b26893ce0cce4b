"""Which passphrases can be typed at a console."""

import pytest

from bootwright.core.errors import InputError
from bootwright.core.passphrase import check_typeable


@pytest.mark.parametrize(
    "value", [b"", b"a\tb", b"a\n", b"\x00", b"\x7f", b"\x08", b"\x15", b"\x04", b"a" * 513]
)
def test_passphrases_that_cannot_be_typed(value: bytes) -> None:
    with pytest.raises(InputError) as raised:
        check_typeable(value, "bench")
    assert value.decode() not in str(raised.value) or value == b""


def test_passphrases_that_can_be_typed() -> None:
    check_typeable(b"correct horse battery staple", "bench")
    check_typeable("Grüße ☃ \\ \"'$`".encode(), "bench")
