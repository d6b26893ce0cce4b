"""No echo of a secret comes through, however it was cut; everything else does."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.console.redact import Redactor
from bootwright.secret import Secret

SECRET = b"correct horse battery"
RECORD = b"[   47.067120] EXT4-fs (vda1): mounted\r\n"
STATUS = b"[  OK  ] Started something.\r\n"


def redactor(*secrets: bytes) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.arm(Secret(secret))
    return made


def through(data: bytes, *secrets: bytes, cuts: tuple[int, ...] = ()) -> bytes:
    made = redactor(*secrets or (SECRET,))
    places = [0, *sorted(cuts), len(data)]
    done = b"".join(made.feed(data[a:b]) for a, b in pairwise(places))
    return done + made.flush()


def test_nothing_is_held_or_changed_before_a_secret_is_armed() -> None:
    made = redactor()
    assert made.feed(b"correct horse ") == b"correct horse "
    assert not made.holds


@pytest.mark.parametrize(
    ("data", "masked"),
    [
        (SECRET, b"***"),
        (b": " + SECRET + b"\r\nok\r\n", b": ***\r\nok\r\n"),
        (b"cor" + SECRET, b"***" + b"***"),
        (b"c" + SECRET, b"c***"),
        (SECRET[:9] + RECORD + SECRET[9:] + b"\r\n", b"***" + RECORD + b"\r\n"),
        (SECRET[:1] + STATUS + SECRET[1:] + b"\r\n", b"***" + STATUS + b"\r\n"),
        (SECRET[:4] + RECORD + STATUS + SECRET[4:5] + RECORD + SECRET[5:], b"***" + RECORD
         + STATUS + RECORD),
        # It stopped in the middle: the board was switched off.
        (b"correct ho\r\nU-Boot 2020.01\r\n", b"***\r\nU-Boot 2020.01\r\n"),
        (b"correct ho", b"***"),
        (b"Finished systemd-cryptsetup.\r\n", b"Finished systemd-cryptsetup.\r\n"),
        (b"co\r\nco\r\n", b"co\r\nco\r\n"),
    ],
)  # fmt: skip
def test_echoes(data: bytes, masked: bytes) -> None:
    assert through(data) == masked
    made = redactor(SECRET)
    one_by_one = b"".join(made.feed(bytes([byte])) for byte in data) + made.flush()
    assert one_by_one == masked


def test_several_secrets() -> None:
    assert through(b"horse correct horse\r\n", b"horse", b"correct horse") == b"*** ***\r\n"


def test_what_cannot_be_an_echo_is_not_held() -> None:
    made = redactor(SECRET)
    assert made.feed(b"\r\n[  OK  ] Mounted") == b"\r\n[  OK  ] Mounted"
    assert made.feed(b" c") == b" "
    assert made.holds
    assert made.feed(b"onsole\r\n12345678901\r\n" + b"x\r\n" * 5) != b""
    assert made.feed(b"x" * 2000) == b"x" * 2000


tears = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([RECORD, STATUS])), max_size=3)


@given(
    secret=st.binary(min_size=4, max_size=20).filter(lambda value: not set(value) & {10, 13}),
    before=st.sampled_from([b"", b": ", b"\r\n", b"[  O"]),
    cut_in=tears,
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_no_chunking_and_no_tear_lets_it_through(
    secret: bytes, before: bytes, cut_in: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    echo = secret
    for place, line in sorted(cut_in, key=lambda item: item[0], reverse=True):
        place = min(place, len(secret) - 1)
        echo = echo[:place] + line + echo[place:]
    data = before + echo + b"\r\nnext\r\n"
    shown = through(data, secret, cuts=tuple(min(cut, len(data)) for cut in cuts))
    without = shown
    for line in (RECORD, STATUS):
        without = without.replace(line, b"")
    # The pieces may lie beside a foreign line that happens to hold the same characters.
    if secret not in before + b"***\r\nnext\r\n":
        assert secret not in without


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    assert through(data, b"\x00\x01ab", cuts=tuple(min(cut, len(data)) for cut in cuts)) == through(
        data, b"\x00\x01ab"
    )
