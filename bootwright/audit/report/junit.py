"""An audit as JUnit XML, which continuous integration shows as a test run."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bootwright.audit.model import Checked
from bootwright.audit.result import SECTIONS, AuditResult, reason_of
from bootwright.core.text import sanitize_text


def junit(results: Sequence[AuditResult]) -> str:
    """Return the XML: a suite for each board, with a test case for each check.

    A warn is a failure. A check that was not evaluated, that is for a person, or that is waived is
    skipped, with the reason. A board that could not be audited is a suite with one error.
    """
    root = ET.Element("testsuites", name="inv audit")
    for result in results:
        root.append(_suite(result))
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(result: AuditResult) -> ET.Element:
    suite = ET.Element("testsuite")
    name = f"{result.target} {result.benchmark}"
    if result.error is not None:
        case = ET.SubElement(suite, "testcase", _texts(classname=name, name="audit"))
        ET.SubElement(case, "error", _texts(message=str(result.error), type="error"))
    for checked in result.checks:
        suite.append(_case(checked, result, name))
    counts = result.summary.total.counts
    suite.attrib.update(
        _texts(
            name=name,
            hostname=result.host.name if result.host is not None else "",
            timestamp=f"{result.day}T00:00:00",
            time=f"{result.seconds:.1f}",
            tests=str(len(suite)),
            failures=str(counts["warn"]),
            errors=str(int(result.error is not None)),
            skipped=str(counts["skipped"] + counts["manual"] + counts["waived"]),
        )
    )
    return suite


def _case(checked: Checked, result: AuditResult, suite: str) -> ET.Element:
    check, came, evidence = checked.check, result.result(checked), result.evidence(checked)
    # A blank after the number, not a point: after a point would begin another package.
    classname = f"{suite}.{check.section} {SECTIONS[check.section]}"
    case = ET.Element("testcase", _texts(classname=classname, name=f"{check.id} {check.title}"))
    if came == "warn":
        failure = ET.SubElement(case, "failure", _texts(message=evidence, type="warn"))
        items = [item for item in checked.evaluation.items if item.result == "warn"]
        text = [f"{item.subject}: {item.evidence}" for item in items] or [evidence]
        failure.text = sanitize_text("\n".join((*text, check.remedy)))
    elif came in ("skipped", "manual", "waived"):
        text = [f"{came}: {evidence}"]
        if came == "waived" and checked.waiver is not None:
            text.append(f"until {checked.waiver.expires}: {reason_of(checked)}")
        ET.SubElement(case, "skipped", _texts(message="; ".join(text)))
    return case


def _texts(**attributes: str) -> dict[str, str]:
    """Return attributes without the characters that are not allowed in XML, even if escaped."""
    return {name: sanitize_text(text) for name, text in attributes.items()}
