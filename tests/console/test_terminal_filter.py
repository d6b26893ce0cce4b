"""What of a board's output reaches the operator's terminal."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.console.terminal_filter import TerminalFilter


def shown(data: bytes) -> str:
    return TerminalFilter().feed(data)


@pytest.mark.parametrize(
    "text",
    [
        "plain\r\n",
        "\x1b[0;1;31mred\x1b[0m \b\a\t",
        "\x1b[K\x1b[2J\x1b[12;40H\x1b[A\x1bM\x1b7\x1b8\x1b(B",
        "\x1b[?25l\x1b[?1049h\x1b[?2004h",
        "\N{LOCK WITH INK PEN}…é",
    ],
)
def test_what_editors_and_menus_need(text: str) -> None:
    assert shown(text.encode()) == text


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b]0;title\a",
        b"\x1b]52;c;cm0gLXJmIC8=\x1b\\",  # the clipboard
        b"\x1bP+q544e\x1b\\",
        b"\x1b_G1\x1b\\",
        b"\x1b^x\x1b\\",
        b"\x1b[6n",  # these are answered, as if typed
        b"\x1b[c",
        b"\x1b[>c",
        b"\x1b[21t",
        b"\x1b[?2026$p",
        b"\x1bZ",
        b"\x1b[5i",  # prints
        b"\x1bc",
        b"\x05",
        b"\x0e",
        "\x9b6n"[0:1].encode(),
        b"\x00",
        b"\x7f",
    ],
)
def test_what_must_not_reach_a_terminal(sequence: bytes) -> None:
    assert "\x1b" not in shown(b"a" + sequence + b"b")
    assert shown(b"a" + sequence + b"b")[0] == "a"
    assert shown(b"a" + sequence + b"b")[-1] == "b"


def test_an_unfinished_string_does_not_swallow_the_console() -> None:
    assert shown(b"\x1b]0;never ended\r\nPlease enter") == "\nPlease enter"
    assert shown(b"\x1b[" + b"1;" * 100 + b"mred") != ""


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_whatever_comes_in_whatever_chunks(chunks: list[bytes]) -> None:
    made = TerminalFilter()
    out = "".join(made.feed(chunk) for chunk in chunks)
    assert out == shown(b"".join(chunks))
    for sequence in re.findall(r"\x1b(.?)", out, re.DOTALL):
        assert sequence in tuple("[78DEM=>()")
    assert not re.search(r"[\x00-\x06\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]", out)
