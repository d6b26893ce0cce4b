"""Certificates of a small fleet."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bootwright.core.config import Target
from bootwright.pki.certificate_store import (
    CertificateStore,
    CertificateSubject,
    StoreChange,
    issue,
    issue_board,
)
from bootwright.pki.certificates import (
    ServerNames,
)
from bootwright.pki.io.store import PkiStore

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)

DAY = timedelta(days=1)

NAMES = ServerNames(("board", "localhost"), ("192.0.2.10", "127.0.0.1"))


def target(**values: Any) -> Target:
    return Target(**{"name": "odroid", "board": "b", "rootfs": "r", "hostname": "board"} | values)


def fleet() -> CertificateStore:
    held = CertificateStore()
    for board in ("one", "two"):
        held = issue_board(held, board, ServerNames((board,), ("127.0.0.1",)), NOW).certificates
    for client in ("ci", "alice"):
        held = issue(held, CertificateSubject("client", client), ServerNames(), NOW).certificates
    return held


def fill(store: PkiStore, client: str = "ci") -> StoreChange:
    store.update(lambda held: issue_board(held, "odroid", NAMES, NOW))
    return store.update(
        lambda held: issue(held, CertificateSubject("client", client), ServerNames(), NOW)
    )
