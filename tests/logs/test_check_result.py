"""The report of ``inv logs check``."""

from bootwright.core.units import GIB, MIB
from bootwright.logs.check_result import BoardLogs, CollectorCertificate, LogsCheck
from tests.support.schemas import check_broken_documents, check_document

LAB = BoardLogs("lab", 3 * MIB, 4 * GIB, ())
ENDS = CollectorCertificate(12, True, "it ends in 12 days: renew it")


def test_all_is_well_only_if_nothing_is_wrong() -> None:
    assert LogsCheck("build/logs", (LAB,), (), None).good
    lasting = CollectorCertificate(200, False, "valid for 200 days: good")
    assert LogsCheck("build/logs", (LAB,), (), lasting).good
    refused = BoardLogs("odroid", 0, 4 * GIB, ("new records are not stored",))
    for wrong in (
        LogsCheck("build/logs", (LAB, refused), (), None),
        LogsCheck("build/logs", (LAB,), ("1.0 GiB of the disk are free",), None),
        LogsCheck("build/logs", (LAB,), (), ENDS),
    ):
        assert not wrong.good


def test_the_document_and_the_lines() -> None:
    refused = BoardLogs("odroid", 5 * GIB, 4 * GIB, ("it is full", "it is over its quota"))
    check = LogsCheck("build/logs", (LAB, refused), ("the disk is nearly full",), ENDS)
    document = check_document("logs-check", check.document())
    check_broken_documents("logs-check", document, free=("boards.0.trouble",))
    check_document("logs-check", LogsCheck("build/logs", (), (), None).document())
    assert document["boards"][1]["used_bytes"] == 5 * GIB
    assert check.lines() == [
        "lab: 3.0 MiB of 4.0 GiB: good",
        "odroid: 5.0 GiB of 4.0 GiB: it is full; it is over its quota",
        "build/logs: the disk is nearly full",
        "collector's certificate: it ends in 12 days: renew it",
    ]
