"""The doctor on this very machine."""

import io
import sys
from pathlib import Path

import pytest

from bootwright.core.doctor import doctor, show
from bootwright.core.doctor_report import Configuration
from bootwright.core.errors import FailedError
from bootwright.core.io import machine
from bootwright.core.io.process import run
from bootwright.core.io.tool_list import debian_package
from bootwright.core.tools import Tool
from tests.support.schemas import check_document

pytestmark = pytest.mark.integration


def test_report_of_this_machine(tmp_path: Path) -> None:
    report = doctor(Configuration(1, ()), tmp_path / "none" / "yet", tmp_path)
    check_document("doctor", report.document())
    rows = {row.name: row for row in (*report.tools, *report.checks)}
    assert rows["python"].found == ".".join(str(part) for part in sys.version_info[:3])
    assert rows["cache"].found.startswith(str(tmp_path / "none" / "yet"))
    out = io.StringIO()
    show(report, out)
    assert len(out.getvalue().splitlines()) > len(rows)


def test_tool_that_is_there_and_tool_that_is_not() -> None:
    shell = machine.find_tool(Tool("cat", "run", ("--version",), "coreutils", "coreutils", "x"))
    assert shell.path is not None
    assert shell.version is not None
    assert machine.find_tool(Tool("no-such-tool", "run", ("-V",), "a", "b", "x")).path is None
    assert machine.find_tool(Tool("/etc/passwd", "run", (), "a", "b", "x")).path == "/etc/passwd"
    assert machine.find_tool(Tool("/etc/no-such", "run", (), "a", "b", "x")).path is None


def test_missing_tool_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert debian_package("mkimage") == "u-boot-tools"
    assert debian_package("no-such-tool") == "no-such-tool"
    with pytest.raises(FailedError, match="run scripts/setup, or install the package 'no-such"):
        run(["no-such-tool"])
