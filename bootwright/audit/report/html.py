"""An audit as a single HTML file without scripts; it needs no other file and no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bootwright.audit.model import RESULTS
from bootwright.audit.report.compare import Comparison
from bootwright.audit.result import (
    OWNER_NAMES,
    SECTIONS,
    AuditResult,
    reason_of,
    remedies,
    step_of,
    to_act_on,
)
from bootwright.core.text import sanitize_text


def html(
    results: Sequence[AuditResult], comparisons: Mapping[str, Comparison], templates: Path
) -> str:
    """Return the report on one board or several.

    Args:
        results: one for each board.
        comparisons: with an earlier audit, by target.
        templates: the folder ``templates`` of the checkout.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters["remedies"] = remedies
    environment.filters["reason"] = reason_of
    environment.filters["step"] = step_of
    audited = [result for result in results if result.error is None]
    page = environment.get_template("audit/report.html").render(
        results=results,
        audited=audited,
        versions=dict.fromkeys(one.version for one in audited or results),
        to_act_on=to_act_on(audited),
        comparisons=comparisons,
        sections=SECTIONS,
        order=RESULTS,
        who=OWNER_NAMES,
    )
    # Escaping does not remove control characters and those that change the direction of writing.
    return sanitize_text(page)
