"""What `inv provision` returns: its document, and what a person reads."""

from bootwright.core.errors import FailedError, RefusedError
from bootwright.provision.plan import plan_provision, versions_of
from bootwright.provision.result import ProvisionResult, ProvisionResults, step_results
from tests.support.host_facts import desired, stock
from tests.support.schemas import check_broken_documents, check_document


def planned(name: str = "odroid") -> ProvisionResult:
    """Return a dry run on a board with stock Docker."""
    facts = stock()
    plan = plan_provision(desired(), facts)
    return ProvisionResult(
        name,
        planned=True,
        steps=step_results(plan, facts.files),
        versions=versions_of(facts),
        seconds=1.26,
        warnings=("Docker is old",),
        waived=plan.waived,
    )


def done(name: str = "odroid") -> ProvisionResult:
    """Return the same plan carried out."""
    plan = planned(name)
    return ProvisionResult(
        name,
        steps=plan.steps,
        restarted=("docker.service", "board"),
        versions={"client": "20.10.24", "server": "20.10.24"},
        seconds=12.34,
        waived=plan.waived,
    )


def test_the_document_of_a_dry_run() -> None:
    document = check_document("provision", ProvisionResults((planned(),)).document())
    check_broken_documents("provision", document)
    (target,) = document["targets"]
    assert (target["planned"], target["seconds"]) == (True, 1.3)
    assert target["changed"] + target["unchanged"] == len(target["steps"]) > target["changed"] > 0
    daemon = next(step for step in target["steps"] if step["name"] == "daemon")
    assert daemon["changed"] and "+" in daemon["diff"] and "2.2" in daemon["checks"]
    assert target["waived"] and "error" not in target


def test_the_document_of_several_boards_has_the_errors() -> None:
    error = RefusedError("/var/lib/docker is not mounted")
    results = ProvisionResults(
        (
            done(),
            ProvisionResult("gone", seconds=0.5, error=error),
            ProvisionResult("late", rolled_back=True, error=FailedError("not confirmed in time")),
        ),
        exit_code=4,
    )
    document = check_document("provision", results.document())
    check_broken_documents("provision", document)
    good, gone, late = document["targets"]
    assert good["restarted"] == ["docker.service", "board"]
    assert gone["error"] == {"message": "/var/lib/docker is not mounted", "exit_code": 3}
    assert (late["rolled_back"], late["error"]["exit_code"]) == (True, 4)


def test_the_lines_leave_out_boards_that_failed_since_their_errors_are_printed() -> None:
    failed = ProvisionResult("gone", error=FailedError("no answer"))
    assert ProvisionResults((failed,)).lines() == []
    lines = ProvisionResults((done(), failed)).lines()
    assert lines[0].startswith("odroid: changed mount, userns, daemon, audit; restarted docker.")
    assert lines[0].endswith("Docker 20.10.24 (client 20.10.24) (12.3 s)")
    assert all(line.startswith("  left unmet: ") for line in lines[1:])


def test_a_diff_is_shown_when_it_is_asked_for() -> None:
    plain = ProvisionResults((planned(),)).lines()
    with_diff = ProvisionResults((planned(),), diff=True).lines()
    assert plain[0] == with_diff[0] == "odroid:"
    assert any(line.strip().startswith("+++ ") for line in with_diff)
    assert not any(line.strip().startswith("+++ ") for line in plain)
    assert any(line.startswith("  as it should be: ") for line in plain)
    assert [line for line in ProvisionResults((done(),), diff=True).lines() if "+++" in line]
