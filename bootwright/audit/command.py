"""``inv audit``: the format of the report, its output file, and when a run is a failure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootwright.audit.choices import FailOn, ReportFormat
from bootwright.audit.report.compare import Baseline, Comparison, compare, load_baseline
from bootwright.audit.report.html import html
from bootwright.audit.report.junit import junit
from bootwright.audit.report.sarif import sarif
from bootwright.audit.report.text import lines, matrix
from bootwright.audit.result import SCHEMA, AuditResult, as_document
from bootwright.core import paths
from bootwright.core.errors import BootwrightError, FailedError, InputError
from bootwright.core.io.fsync import replace_file
from bootwright.hosts.fleet import worst

MAX_NAMED = 20
"""How many checks an error names; the report above it has all of them."""


@dataclass(frozen=True)
class AuditOptions:
    """How results are shown.

    Attributes:
        form: the format of the report.
        fail_on: when the exit code is 4. ``warn``: a check warns, or a scored check could not be
            evaluated. ``regression``: a check got worse, or there is a new finding.
        baseline: an earlier audit to compare with.
        output: the file for the report; ``None``: standard output.
    """

    form: ReportFormat = "text"
    fail_on: FailOn = "never"
    baseline: Baseline | None = None
    output: Path | None = None


def options_of(
    form: ReportFormat | None,
    as_json: bool,
    fail_on: FailOn,
    baseline: str | None,
    output: str | None,
) -> AuditOptions:
    """Return the options of a command line.

    Raises:
        InputError: two options contradict each other, or the baseline cannot be used.
    """
    if as_json:
        if form not in (None, "json"):
            raise InputError(f"--json and --format {form}: give only one of them")
        form = "json"
    if fail_on == "regression" and baseline is None:
        raise InputError("--fail-on regression needs a --baseline to compare with")
    path = paths.expand_user(output) if output else None
    if path is not None and not path.parent.is_dir():
        raise InputError(f"--output: {path.parent}: there is no such folder")
    return AuditOptions(
        form=form or "text",
        fail_on=fail_on,
        baseline=load_baseline(paths.expand_user(baseline)) if baseline else None,
        output=path,
    )


@dataclass(frozen=True)
class AuditResults:
    """The audits of all targets.

    Attributes:
        targets: one result for each, in the order of the command line.
        comparisons: with an earlier audit, by target; empty without a baseline.
    """

    targets: tuple[AuditResult, ...]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON document: of one target, or with a list of all targets."""
        documents = []
        for result in self.targets:
            compared = self.comparisons.get(result.target)
            documents.append(as_document(result, compared.as_json() if compared else None))
        return documents[0] if len(documents) == 1 else {"schema": SCHEMA, "targets": documents}

    def lines(self) -> list[str]:
        """Return the full report of one target, or a table of several, as lines of text."""
        if len(self.targets) == 1:
            (result,) = self.targets
            return lines(result, self.comparisons.get(result.target))
        return matrix(self.targets)


def comparisons_of(
    results: Sequence[AuditResult], baseline: Baseline | None
) -> dict[str, Comparison]:
    """Return the comparison of each audited target with the baseline.

    Raises:
        InputError: a target is not in the baseline, or has other ids of checks there.
    """
    if baseline is None:
        return {}
    found = {}
    for result in results:
        if result.error is None:
            before = baseline.target(result.target)
            try:
                found[result.target] = compare(before, result)
            except InputError as error:
                raise InputError(f"{baseline.where}: {error}") from None
    return found


def report(results: AuditResults, form: ReportFormat, templates: Path) -> str:
    """Return the report of all targets as text that ends in a line feed.

    Args:
        results: the audits.
        form: the format.
        templates: the folder of the templates, for ``html``.
    """
    if form == "json":
        return json.dumps(results.document(), indent=2) + "\n"
    if form == "junit":
        return junit(results.targets)
    if form == "sarif":
        return json.dumps(sarif(results.targets), indent=2) + "\n"
    if form == "html":
        return html(results.targets, results.comparisons, templates)
    return "".join(f"{line}\n" for line in results.lines())


def write_report(path: Path, text: str) -> None:
    """Write a report to a file; an error leaves the old content unchanged.

    Raises:
        FailedError: the file cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise FailedError(f"{path}: the report cannot be written: {error.strerror}") from None


def failure(results: AuditResults, fail_on: FailOn) -> tuple[str, int]:
    """Return why the run is a failure, and the exit code; an empty text and 0 if it is not.

    A board that could not be audited is always a failure.
    """
    errors: dict[str, BootwrightError | None] = {one.target: one.error for one in results.targets}
    if code := worst(errors):
        if len(results.targets) == 1:
            return str(results.targets[0].error), code
        failed = [name for name, error in errors.items() if error is not None]
        return f"not audited: {', '.join(failed)}", code
    output = []
    for result in results.targets:
        if fail_on == "warn":
            found = [one.check.id for one in result.having("warn")]
            found += [one.check.id for one in result.having("skipped") if one.check.scored]
        elif fail_on == "regression":
            compared = results.comparisons[result.target]
            found = [change.id for change in compared.worse]
            found += [finding.id for finding in compared.found]
        else:
            found = []
        if found:
            names = ", ".join((*found[:MAX_NAMED], *(["…"] if found[MAX_NAMED:] else [])))
            output.append(f"{result.target}: {len(found)} ({names})")
    if not output:
        return "", 0
    what = "checks warn, or could not be evaluated" if fail_on == "warn" else "got worse"
    return f"{what}: {'; '.join(output)}", FailedError.exit_code
