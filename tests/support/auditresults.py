"""Results of audits by hand, for what counts, compares and prints them."""

from dataclasses import replace
from datetime import date

from bootwright.audit.model import (
    BenchmarkCheck,
    Checked,
    CheckResult,
    Evaluation,
    Finding,
    Item,
    Owner,
    Waiver,
)
from bootwright.audit.result import AuditedHost, AuditResult
from bootwright.core.errors import FailedError

TODAY = date(2026, 11, 26)

HOST = AuditedHost("odroid", "Debian GNU/Linux 12", "6.1.0-odroid", "armv7l", "20.10.24+dfsg1")

HOSTILE = "<script>alert(1)</script> & \"quoted' ]]> {{7*7}} {0} [click](http://evil.example)"


def check(
    number: str, owner: Owner = "daemon", *, scored: bool = True, step: str = ""
) -> BenchmarkCheck:
    return BenchmarkCheck(
        id=number,
        title=f"Wish {number} is met",
        scored=scored,
        owner=owner,
        remedy=f"Do what {number} wants",
        step=step,
        aliases={"1.11.0": (number,)},
    )


def checked(
    number: str,
    result: CheckResult = "pass",
    *items: Item,
    evidence: str = "as it is",
    waiver: Waiver | None = None,
    of: BenchmarkCheck | None = None,
) -> Checked:
    return Checked(of or check(number), Evaluation(result, evidence, items), waiver)


def waiver(number: str, expires: date) -> Waiver:
    return Waiver(check=number, reason="there is nobody\nto be kept out", expires=expires)


def item(subject: str, result: CheckResult = "warn", evidence: str = "no limit") -> Item:
    return Item(subject, result, evidence)


def audit(
    *checks: Checked, target: str = "odroid", findings: tuple[Finding, ...] = ()
) -> AuditResult:
    return AuditResult(target, TODAY, HOST, checks, findings, seconds=2.34)


FINDING = Finding(
    "dead-content-trust",
    "Content trust protects nothing",
    "DOCKER_CONTENT_TRUST=1",
    "Pin images by digest",
    ("4.5",),
)


def of_all_kinds(target: str = "odroid") -> AuditResult:
    """Return an audit with every result, items, waivers and a finding."""
    return audit(
        checked("1.1.1", of=check("1.1.1", "host", step="mount")),
        checked("2.1", "manual", evidence="runs as root", of=check("2.1", "manual", scored=False)),
        checked("2.2", "warn", evidence="icc = true", of=check("2.2", step="daemon")),
        checked("2.7", "info", evidence="no TCP"),
        checked("2.12", "warn", evidence="none", waiver=waiver("2.12", date(2026, 11, 26))),
        checked("2.13", "warn", evidence="local", waiver=waiver("2.13", date(2026, 11, 25))),
        checked("4.5", evidence="1"),
        checked(
            "5.11",
            "warn",
            item("web"),
            item("db", "pass", "256 MiB"),
            evidence="web: no limit",
            of=check("5.11", "run"),
        ),
        checked(
            "5.18",
            "warn",
            item("web", "warn", "/dev/mem"),
            evidence="web: /dev/mem",
            of=check("5.18", "run", scored=False),
        ),
        checked("7.1", "skipped", evidence="no engine answers"),
        target=target,
        findings=(FINDING,),
    )


def hostile() -> AuditResult:
    """Return an audit in which a board tries to be more than text."""
    evil = HOSTILE + " \x00\x1b[31m\x07\ufffe\ud800 \u202e"
    found = audit(
        checked("2.2", "warn", evidence=evil),
        checked("5.11", "warn", item(evil, "warn", evil), evidence=evil),
        checked("7.1", "skipped", evidence=evil),
        findings=(replace(FINDING, evidence=evil),),
    )
    return replace(found, host=AuditedHost(evil, evil, evil, evil, evil))


def unreachable(target: str = "shelf") -> AuditResult:
    error = FailedError(f"{target}: no SSH server answers at 192.0.2.7:22")
    return AuditResult(target, TODAY, error=error)
