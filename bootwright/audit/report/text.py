"""An audit as lines of text, in the form of docker-bench-security."""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from bootwright.audit.model import RESULTS, Checked, CheckResult, Finding
from bootwright.audit.report.compare import CheckChange, Comparison, FindingChange
from bootwright.audit.result import SECTIONS, AuditResult, Tally, reason_of, remedies, to_act_on
from bootwright.core.cli import terminal_width
from bootwright.core.text import sanitize_text, wrap_line

TAGS: dict[CheckResult, str] = {
    "pass": "[PASS]",
    "warn": "[WARN]",
    "info": "[INFO]",
    "manual": "[NOTE]",
    "waived": "[WAIV]",
    "skipped": "[SKIP]",
}
"""The words of docker-bench-security; the last two are ours."""

COLOURS: dict[str, str] = {
    "[PASS]": "green",
    "[WARN]": "red",
    "[INFO]": "blue",
    "[NOTE]": "cyan",
    "[WAIV]": "magenta",
    "[SKIP]": "yellow",
}


def lines(result: AuditResult, comparison: Comparison | None = None) -> list[str]:
    """Return an audit as lines.

    Args:
        result: the audit of one board.
        comparison: with an earlier audit of it.
    """
    if result.error is not None:
        return [f"{result.target}: not audited: {result.error}"]
    return [
        *_head(result),
        *_sections(result),
        "",
        *_summary(result),
        *_remedies(result),
        *_findings(result.findings),
        *(_comparison(comparison) if comparison is not None else ()),
    ]


def matrix(results: Sequence[AuditResult]) -> list[str]:
    """Return the audits of several boards as a table of the checks that a board does not meet."""
    audited = [result for result in results if result.error is None]
    table: list[list[str]] = []
    if audited:
        table = [["check", *(result.target for result in audited), "title"]]
        table += [[check.id, *came, check.title] for check, came in to_act_on(audited)]
        table += [
            [f"total {result}", *(str(one.summary.total.counts[result]) for one in audited), ""]
            for result in RESULTS
        ]
        table.append(["score", *(_score(one.summary.total) for one in audited), ""])
        table.append(["findings", *(str(len(one.findings)) for one in audited), ""])
    output = _aligned(table, left=(0, len(audited) + 1))
    output += [
        f"{one.target}: not audited: {one.error}" for one in results if one.error is not None
    ]
    return output


def print_lines(lines: Iterable[str], out: TextIO | None = None) -> None:
    """Print lines; on a terminal the results are in colour, and long lines end between words.

    Arrows and ellipses are written in ASCII if the encoding does not have them; other characters
    that it does not have become question marks.
    """
    file = out or sys.stdout
    encoding = file.encoding or "utf-8"
    console = Console(file=file, highlight=False, soft_wrap=True, emoji=False)
    width = terminal_width(file)
    for text in lines:
        line = _encodable(sanitize_text(text), encoding)
        for part in [line] if width is None else wrap_line(line, width):
            console.print(coloured(part))


def _encodable(line: str, encoding: str) -> str:
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        plain = line.replace("→", "->").replace("…", "...")
        return plain.encode(encoding, "replace").decode(encoding)
    return line


def coloured(line: str) -> Text:
    """Return a line; if it begins with a result, that is in colour."""
    text = Text(line)
    if line[:6] in COLOURS:
        text.stylize(COLOURS[line[:6]], 0, 6)
    return text


def _head(result: AuditResult) -> list[str]:
    output = [f"{result.target}: CIS Docker Benchmark {result.version}, {result.day}"]
    host = result.host
    if host is not None:
        engine = f"Docker {host.engine}" if host.engine else "no Docker engine answers"
        output.append(", ".join(filter(None, (host.name, host.os, host.kernel, host.arch, engine))))
    return output


def _sections(result: AuditResult) -> list[str]:
    output: list[str] = []
    for section in result.summary.sections:
        output += ["", f"[INFO] {section} - {SECTIONS[section]}"]
        for checked in result.checks:
            if checked.check.section == section:
                output += _check(checked, result)
    return output


def _check(checked: Checked, result: AuditResult) -> list[str]:
    came = result.result(checked)
    tag = TAGS[came]
    output = [f"{tag} {checked.check.id} - {checked.check.title}"]
    if came == "pass":
        return output
    evidence = result.evidence(checked)
    shown = [item for item in checked.evaluation.items if item.result != "pass"]
    texts = [f"{item.subject}: {item.evidence}" for item in shown] or [evidence]
    if shown and evidence != checked.evaluation.evidence:
        texts.append(evidence)
    if came == "waived" and checked.waiver is not None:
        texts.append(f"waived until {checked.waiver.expires}: {reason_of(checked)}")
    return output + [f"{tag}      * {line}" for line in texts if line]


def _summary(result: AuditResult) -> list[str]:
    summary = result.summary
    table = [["section", *RESULTS, "score/max"]]
    table += [
        [f"{name} {SECTIONS[name]}", *_counts(tally)] for name, tally in summary.sections.items()
    ]
    table.append(["all", *_counts(summary.total)])
    return _aligned(table)


def _counts(tally: Tally) -> list[str]:
    return [*(str(tally.counts[result]) for result in RESULTS), _score(tally)]


def _score(tally: Tally) -> str:
    return f"{tally.score}/{tally.max_score}"


def _remedies(result: AuditResult) -> list[str]:
    found = remedies(result)
    if not found:
        return []
    by: dict[str, int] = {}
    for remedy in found:
        by[remedy.who] = by.get(remedy.who, 0) + len(remedy.checks)
    counts = ", ".join(f"{count} by {who}" for who, count in by.items())
    warns = sum(by.values())
    output = ["", f"What can make {warns} warn{'s' if warns > 1 else ''} pass: {counts}"]
    for remedy in found:
        if remedy.step:
            ids = " ".join(check.id for check in remedy.checks)
            output.append(f"  {remedy.who}, step {remedy.step}: {ids}")
            continue
        output.append(f"  {remedy.who}:")
        output += [f"    {check.id}: {check.remedy}" for check in remedy.checks]
    return output


def _findings(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    output = ["", "Findings beside the benchmark"]
    for finding in findings:
        passes = f" (passes {', '.join(finding.checks)})" if finding.checks else ""
        output += [
            f"  {finding.id}: {finding.title}{passes}",
            f"    * {finding.evidence}",
            f"    {finding.remedy}",
        ]
    return output


def _comparison(comparison: Comparison) -> list[str]:
    before, after = comparison.before, comparison.after
    output = [
        "",
        f"Since {comparison.since}: score {_score(before)} → {_score(after)};"
        f" {len(comparison.improved)} better, {len(comparison.worse)} worse,"
        f" {len(comparison.other)} otherwise, {comparison.unchanged} unchanged",
    ]
    output += _changed_findings("new finding", comparison.found)
    output += _changes("worse", comparison.worse)
    output += _changes("better", comparison.improved)
    output += _changed_findings("gone finding", comparison.mended)
    output += _changes("otherwise", comparison.other)
    for word, items in (("new", comparison.new), ("gone", comparison.gone)):
        subjects: dict[str, list[str]] = {}
        for item in items:
            subjects.setdefault(item.subject, []).append(item.check)
        output += [f"  {word}: {name} ({', '.join(ids)})" for name, ids in subjects.items()]
    return output


def _changed_findings(word: str, changes: Iterable[FindingChange]) -> list[str]:
    return [f"  {word}: {one.id}{_names(one.subjects)} - {one.title}" for one in changes]


def _names(subjects: Sequence[str]) -> str:
    return f" ({', '.join(subjects)})" if subjects else ""


def _changes(word: str, changes: Iterable[CheckChange]) -> list[str]:
    output = []
    for change in changes:
        came = f"{change.before} → {change.after}{_names(change.items)}"
        output.append(f"  {word}: {change.id} {came} - {change.title}")
    return output


def _aligned(table: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Return rows as aligned lines: the columns ``left`` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    output = []
    for row in table:
        cells = [
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        output.append("  ".join(cells).rstrip())
    return output
