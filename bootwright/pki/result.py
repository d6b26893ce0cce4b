"""The result of ``inv pki``: what was done, and all certificates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from bootwright.core.result import to_document
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import (
    KeyPair,
    ServerNames,
    authority_needs_renewal,
    common_name,
    names_in,
    needs_renewal,
)
from bootwright.pki.choices import PkiAction

SCHEMA = "bootwright.pki/1"


@dataclass(frozen=True)
class MadeCertificate:
    """A certificate that was made, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class CertificateRow:
    """A certificate as it is shown; it never contains a private key.

    Attributes:
        kind: ``authority``, or the kind of its subject.
        name: the authority's scope, or the subject's name.
        subject: the distinguished name in the certificate.
        names: the DNS names and addresses of a server.
        serial: its number, in hexadecimal digits.
        sha256: fingerprint of the certificate.
        not_before: the time from which it is valid.
        not_after: the time until which it is valid.
        days_left: whole days until then; negative if it has expired.
        state: ``renew`` if the next run that uses it will make a new one.
        why: why it has to be renewed; empty if it has not.
        files: the folder with its files.
        has_key: whether its private key is in that folder.
    """

    kind: str
    name: str
    subject: str
    names: tuple[str, ...]
    serial: str
    sha256: str
    not_before: datetime
    not_after: datetime
    days_left: int
    state: Literal["valid", "renew", "expired"]
    why: str
    files: str
    has_key: bool

    def lines(self, width: int) -> list[str]:
        """Return it as lines; the title is padded to ``width`` characters."""
        until = f"until {self.not_after:%Y-%m-%d}, {self.days_left} days"
        why = f" ({self.why})" if self.why else ""
        details = {
            "subject": self.subject,
            "names": ", ".join(self.names),
            "serial": self.serial,
            "sha256": self.sha256,
            "files": self.files + ("" if self.has_key else " (without its key)"),
        }
        return [
            f"{self.title:{width}}  {self.state:7}  {until}{why}",
            *(f"  {key:7}  {value}" for key, value in details.items() if value),
        ]

    @property
    def title(self) -> str:
        """The name of its holder, and its kind."""
        return f"{self.name} {self.kind}"


@dataclass(frozen=True)
class PkiResult:
    """What was done, and all certificates.

    Attributes:
        action: the action that was performed.
        name: the target or client; with ``reissue``, the one that got no certificate.
        folder: where certificates are kept.
        made: certificates that were made.
        dropped: kind and name of each certificate that was removed.
        provision: boards that trust the old authority until they are provisioned.
        hand_out: clients that cannot connect until they have their new files.
        certificates: the authorities, then all others by name.
    """

    action: PkiAction
    name: str | None
    folder: str
    made: tuple[MadeCertificate, ...]
    dropped: tuple[str, ...]
    provision: tuple[str, ...]
    hand_out: tuple[str, ...]
    certificates: tuple[CertificateRow, ...]

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON document."""
        return to_document(SCHEMA, self)

    def lines_within(self, width: int | None) -> list[str]:  # noqa: ARG002
        """Return the same lines; those that are too long for the terminal are wrapped."""
        return self.lines()

    def lines(self) -> list[str]:
        """Return the result as lines of text."""
        if self.action == "show":
            return self._table()
        lines = [f"{made.what}: made, {made.why}" for made in self.made]
        lines += [f"{name}: dropped" for name in self.dropped]
        if not lines:
            lines = ["nothing to do; --renew makes new ones anyway"]
            if self.action == "reissue":
                lines = ["there are no certificates"]
        if self.action == "client":
            lines += [f"DOCKER_CERT_PATH={row.files}" for row in self._clients((self.name,))]
        if self.provision:
            lines.append("these boards trust the old authority until they are provisioned:")
            lines.append(f"  inv provision {' '.join(self.provision)}")
        if self.hand_out:
            lines.append("these clients cannot connect until they have their new files:")
            lines += [f"  {row.name}: {row.files}" for row in self._clients(self.hand_out)]
        return lines

    def _clients(self, names: tuple[str | None, ...]) -> list[CertificateRow]:
        return [row for row in self.certificates if row.kind == "client" and row.name in names]

    def _table(self) -> list[str]:
        if not self.certificates:
            return [f"{self.folder}: no certificates yet"]
        width = max(len(row.title) for row in self.certificates)
        return [line for row in self.certificates for line in row.lines(width)]


def authority_row(scope: str, pair: KeyPair, now: datetime, files: str) -> CertificateRow:
    """Return the row of an authority's certificate; ``files`` is its folder."""
    why = authority_needs_renewal(pair.certificate, now)
    return _row("authority", scope, pair, why, now, files)


def subject_row(
    subject: CertificateSubject,
    pair: KeyPair,
    names: ServerNames | None,
    authority: x509.Certificate,
    now: datetime,
    files: str,
) -> CertificateRow:
    """Return the row of a subject's certificate.

    Args:
        subject: its holder and purpose.
        pair: the certificate, and its key if there is one.
        names: as :func:`expected_names` returns them.
        authority: the authority that should have signed it.
        now: the time.
        files: its folder.
    """
    own = common_name(subject.kind, subject.name)
    why = needs_renewal(pair.certificate, names, now, authority, own)
    return _row(subject.kind, subject.name, pair, why, now, files)


def expected_names(
    subject: CertificateSubject, configured: Mapping[str, ServerNames]
) -> ServerNames | None:
    """Return the names that should be in a certificate; ``None`` if they are not known.

    Args:
        subject: the certificate's holder and purpose.
        configured: the names of each configured board.
    """
    if subject.kind == "server":
        return configured.get(subject.name)
    return None if subject.kind == "collector" else ServerNames()


def _row(
    kind: str, name: str, pair: KeyPair, why: str, now: datetime, files: str
) -> CertificateRow:
    certificate = pair.certificate
    (common,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    expired = now >= certificate.not_valid_after_utc
    return CertificateRow(
        kind=kind,
        name=name,
        subject=f"CN={common.value!s}",
        names=tuple(names_in(certificate).words()),
        serial=f"{certificate.serial_number:x}",
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        days_left=(certificate.not_valid_after_utc - now).days,
        state="expired" if expired else "renew" if why else "valid",
        why=why,
        files=files,
        has_key=pair.key is not None,
    )
