"""The screen: bytes to lines, whatever cuts into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.console.screen import MAX_LINE, Line, Partial, Screen

EITHER = Line | Partial


def lines(data: bytes) -> list[Line]:
    return [item for item in Screen().feed(data) if isinstance(item, Line)]


def last_partial(data: bytes) -> str:
    return [item.text for item in Screen().feed(data) if isinstance(item, Partial)][-1]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\r\n", "plain"),
        (b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mx\x1b[0m.\r\r\n", "[  OK  ] Started x."),
        (b"\x1bM\r\x1b[K[ ***  ] Job\r\n", "[ ***  ] Job"),
        (b"\x1b]0;a title\x07after\n", "after"),
        (b"\x1b]0;a title\x1b\\after\n", "after"),
        ("system-seria…\x1b[0m - Slice\n".encode(), "system-seria… - Slice"),
        ("dbus.socket\x1b[…- D-Bus\n".encode(), "dbus.socket…- D-Bus"),
        (b"\x1b(Btext\n", "text"),
        (b"abc\b\b\b   \b\b\bxyz\n", "xyz"),
        (b"\xf0\x9f\x94\x90 lock \xff\n", "\U0001f510 lock \N{REPLACEMENT CHARACTER}"),
        (b"\x00nul\x07\n", "nul"),
    ],
)
def test_what_is_not_text_goes(data: bytes, text: str) -> None:
    assert lines(data)[-1] == Line(text)


def test_a_kernel_message_is_lifted_out_of_the_line_it_cut() -> None:
    data = b"Please en[   47.067120] EXT4-fs (sda1): mounted\r\nter pass[   48.1"
    screen = Screen()
    items = list(screen.feed(data))
    assert [item for item in items if isinstance(item, Line)] == [
        Line("EXT4-fs (sda1): mounted", kernel=True, column=9)
    ]
    assert items[-1] == Partial("Please enter pass[   48.1", 0, "1")
    items = list(screen.feed(b"00000][    T1] usb 1-1: new\r\nphrase\r\nnext"))
    assert Line("usb 1-1: new", kernel=True, column=17) in items
    assert Line("Please enter passphrase") in items
    assert items[-1] == Partial("next", 1, "t")


def test_a_kernel_message_within_a_colour_sequence() -> None:
    data = b"\x1b[0;1;[   47.067120] EXT4-fs\r\n39mPlease enter"
    assert last_partial(data) == "39mPlease enter"


def test_a_kernel_message_within_a_line_break() -> None:
    assert lines(b"finished.\r[   47.067120] EXT4-fs\r\n\nnext\n") == [
        Line("finished."),
        Line("EXT4-fs", kernel=True),
        Line(""),
        Line("next"),
    ]


def test_a_return_begins_the_line_anew() -> None:
    screen = Screen()
    items = list(screen.feed(b"old\rnew"))
    assert items[-1] == Partial("new", 1, "w")
    assert Line("old") in items


def test_noise_without_line_breaks_does_not_pile_up() -> None:
    screen = Screen()
    for item in screen.feed(b"x" * 3 * MAX_LINE):
        assert isinstance(item, Partial)
        assert len(item.text) <= MAX_LINE


@given(st.binary(max_size=300), st.data())
def test_chunks_do_not_matter(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    screen = Screen()
    pieces: list[EITHER] = []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        pieces += screen.feed(data[begin:end])
    assert pieces == list(Screen().feed(data))
