"""The lines of a run's log: what is in them, what is masked, how much is cut."""

import base64
import json
import logging
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.core.run_log import KEPT_CHARACTERS, LOGGER, MAX_ITEMS, JsonLines, event, logged
from bootwright.core.secret import MASK, Masker, Secret

WORD = 'it\'s "correct" \\horse\\ é%/+'


def masker(*values: bytes) -> Masker:
    made = Masker()
    for value in values:
        made.add(value)
    return made


def line(masker: Masker, **fields: Any) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {"levelname": "DEBUG", "gateway": "process", "event": "end", "fields": fields}
    )
    text = JsonLines(masker).format(record)
    assert "\n" not in text
    document: dict[str, Any] = json.loads(text)
    return document


class Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def collected() -> Any:
    handler = Collected()
    LOGGER.addHandler(handler)
    before = LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    yield handler.lines
    LOGGER.setLevel(before)
    LOGGER.removeHandler(handler)


# What is in a record


def test_start_and_end_of_a_call_have_the_same_number(
    collected: list[dict[str, Any]],
) -> None:
    with logged("process", "first", argv=["a", Path("/b")]) as result:
        event("qemu", "running", name="x", gateway_port=3)
        result["status"] = 7
    start, between, end = collected
    assert (start["gateway"], start["event"], start["what"]) == ("process", "start", "first")
    assert start["argv"] == ["a", "/b"]
    assert (between["gateway"], between["event"], between["name"]) == ("qemu", "running", "x")
    assert (end["event"], end["call"], end["status"]) == ("end", start["call"], 7)
    assert end["seconds"] >= 0


def test_the_end_of_a_call_has_its_exception(collected: list[dict[str, Any]]) -> None:
    with pytest.raises(KeyboardInterrupt), logged("ssh", "x"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="why"), logged("ssh", "x"):
        raise ValueError("why")
    assert [one.get("error") for one in collected] == [
        *(None, "KeyboardInterrupt: "),
        *(None, "ValueError: why"),
    ]


def test_what_a_library_logs_is_a_record_too() -> None:
    record = logging.makeLogRecord(
        {"name": "paramiko.transport", "levelname": "INFO", "msg": "Connected %s", "args": ("x",)}
    )
    found = json.loads(JsonLines(Masker()).format(record))
    assert (found["gateway"], found["message"]) == ("paramiko.transport", "Connected x")


# Secrets


def notations(word: str) -> dict[str, str]:
    raw = word.encode()
    return {
        "as it is": word,
        "within a word": f"xx{word}xx",
        "JSON": json.dumps({"a": word}),
        "JSON in UTF-8": json.dumps({"a": word}, ensure_ascii=False),
        "Python": repr(raw),
        "shell": shlex.quote(word),
        "hexadecimal": raw.hex(),
        "base64": base64.b64encode(raw).decode(),
        "base64 for addresses": base64.urlsafe_b64encode(raw).decode(),
        "base64 of name and word": base64.b64encode(b"u:" + raw + b"\nmore").decode(),
        "base64 after two": base64.b64encode(b"ab" + raw).decode(),
        "base64 after four": base64.b64encode(b"abcd" + raw + b"!").decode(),
        "in an address": "https://u:it's%20%22correct%22%20%5Chorse%5C%20%C3%A9%25%2F%2B@host/",
    }


@pytest.mark.parametrize("notation", notations(WORD))
def test_a_secret_is_masked_in_the_notations_of_tools(notation: str) -> None:
    text = notations(WORD)[notation]
    for value in (text, text.encode(), [text], {"a": {"b": text}}):
        shown = line(masker(WORD.encode()), output=value)["output"]
        assert MASK in json.dumps(shown)
        for piece in ("correct", "horse", WORD.encode().hex()[:12], "Y29ycmVj", "b3JyZWN0"):
            assert piece not in json.dumps(shown, ensure_ascii=False)


def test_a_secret_itself_is_three_stars() -> None:
    assert line(Masker(), stdin=Secret(b"correct horse"))["stdin"] == MASK


def test_each_line_of_a_private_key_is_masked() -> None:
    key = b"-----BEGIN X-----\nAAAAbbbbCCCC\nddddEEEE\n-----END X-----\n"
    shown = line(masker(key), stderr=b"bad line: ddddEEEE (was AAAAbbbbCCCC)")["stderr"]
    assert shown == f"bad line: {MASK} (was {MASK})"


def test_a_text_with_a_short_secret_is_replaced_completely() -> None:
    found = line(masker(b"ab"), one="cab", other="xyz")
    assert found["one"] == "(not shown: it may hold a short secret)"
    assert found["other"] == "xyz"


def test_the_longer_of_two_secrets_is_masked_first() -> None:
    assert line(masker(b"horse", b"horse radish"), a="horse radish")["a"] == MASK


def test_secrets_in_urls_are_masked() -> None:
    shown = line(Masker(), url="see https://tok:en@host/a.tar?sig=abc&x=1 or ssh://me@h/b?c")["url"]
    assert shown == f"see https://{MASK}@host/a.tar?{MASK} or ssh://{MASK}@h/b?c"


def test_a_secret_is_masked_from_its_creation(collected: list[dict[str, Any]]) -> None:
    event("ssh", "x", output="one two-of-a-kind three")
    Secret(b"two-of-a-kind")
    event("ssh", "x", output="one two-of-a-kind three")
    assert [one["output"] for one in collected] == ["one two-of-a-kind three", f"one {MASK} three"]


@given(
    st.integers(0, 40_000),
    st.integers(1, 40),
    st.integers(0, 3000),
    st.sampled_from(["\N{SNOWMAN}", "x", " "]),
    st.booleans(),
)
def test_shortening_a_text_leaves_no_part_of_a_secret(
    before: int, times: int, after: int, filler: str, as_bytes: bool
) -> None:
    word = "Q7" * 60 + "é" + "Q7" * 60
    text = filler * before + word * times + filler * after
    shown = line(masker(word.encode()), a=text.encode() if as_bytes else text)["a"]
    assert "Q7Q7" not in shown


# Length


def test_a_long_text_keeps_its_beginning_and_end() -> None:
    for text in ("a" * 5000 + "b" * 5000, "a" * 500_000 + "b" * 500_000):
        for value in (text, text.encode()):
            shown = line(Masker(), a=value)["a"]
            first, middle, last = shown.split("\n")
            assert first == "a" * KEPT_CHARACTERS
            assert last == "b" * KEPT_CHARACTERS
            assert middle == f"[{len(text) - 2 * KEPT_CHARACTERS} of {len(text)} characters cut]"


def test_bytes_that_are_no_text_and_long_lists_are_counted() -> None:
    found = line(Masker(), a=b"\0" * 10, b=b"\xff\xfe", c=list(range(1000)))
    assert found["a"] == "[10 bytes, not text]"
    assert found["b"] == "\N{REPLACEMENT CHARACTER}" * 2
    assert found["c"][MAX_ITEMS:] == [f"[{1000 - MAX_ITEMS} more]"]


@given(st.binary(max_size=300), st.text(max_size=300))
def test_any_output_is_one_line_of_json(data: bytes, text: str) -> None:
    assert set(line(Masker(), a=data, b=text)) >= {"time", "level", "gateway", "event", "a", "b"}
    bad = "a\udc80b"  # a file name that is not UTF-8
    assert line(Masker(), a=bad)["a"] == "a?b"
