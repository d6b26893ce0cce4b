"""All checks of a benchmark are evaluated, in their order."""

import pytest

from bootwright.audit.benchmark import load_checks
from bootwright.audit.checks.evaluate import evaluate
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from tests.support.auditfacts import stock, subject


def test_a_check_that_no_function_evaluates_is_named() -> None:
    checks = load_checks(checkout() / "checks" / "cis-docker")
    added = checks[0].model_copy(update={"id": "1.3.1"})
    with pytest.raises(InputError, match=r"check 1\.3\.1 has no evaluator: add one in bootwright"):
        evaluate(subject(stock()), [*checks, added], (), "board")
