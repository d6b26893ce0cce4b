"""Certificates for mutual TLS: their content, and when a new one is due.

The time is a parameter; :mod:`bootwright.pki.io.store` reads and writes the files. There are two
authorities. dockerd accepts every client certificate of its authority, and an accepted client has
root's rights on that board. If boards used certificates of that authority to ship logs, the
certificate of one stolen board would give root's rights on all others.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bootwright.core.config import Target
from bootwright.core.errors import InputError, RefusedError
from bootwright.core.secret import Secret

Scope = Literal["docker", "logs"]
"""The purpose of an authority: Docker's remote API, or log shipping."""

CertificateKind = Literal["server", "client", "log", "collector"]
"""The purpose of a certificate.

``server``: a board's Docker API. ``client``: a user of that API. ``log``: a board that
ships its logs. ``collector``: the machine that they are shipped to.
"""

SCOPES: dict[CertificateKind, Scope] = {
    "server": "docker",
    "client": "docker",
    "log": "logs",
    "collector": "logs",
}
"""The authority that signs each kind."""

COLLECTOR_NAME = "Bootwright collector"
"""The common name of the collector's certificate. No target can have it, because of the blank.

syslog-ng accepts a certificate for servers from a client too ("Certificate valid, but purpose is
invalid", in its lib/transport/tls-context.c), and distinguishes clients by this name only.
"""

AUTHORITY_VALIDITY = timedelta(days=3652)
"""How long an authority is valid: ten years, longer than a board is likely to be in use."""

VALIDITY = timedelta(days=397)
"""How long all other certificates are valid: one year, and a month for a late renewal."""

RENEW_BEFORE = timedelta(days=30)
"""A certificate that is valid for less than this is renewed."""

BACKDATED = timedelta(days=1)
"""How long before its creation a new certificate becomes valid.

The clock of a board without a battery may be late: it may use local time as UTC, or continue from
the time when the board was switched off. One day is enough for every time zone and for a night. A
board whose clock is later than that must get the time from the network first; a longer period would
only hide that it did not.
"""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label must not be a number, so that a mistyped address is not accepted as a name.
_DNS_NAME = re.compile(rf"({_LABEL}\.)*(?!\d+$){_LABEL}")
_CLIENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class ServerNames:
    """The names and addresses of a server that clients use; empty for a client's certificate."""

    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()

    def words(self) -> tuple[str, ...]:
        """Return each as ``DNS:board`` or ``IP:192.0.2.10``."""
        return (*(f"DNS:{name}" for name in self.dns), *(f"IP:{ip}" for ip in self.ips))


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key (PEM).

    The key of an authority is ``None`` if it is kept elsewhere. Then certificates can be checked,
    but not signed.
    """

    certificate: x509.Certificate
    key: Secret | None

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def server_names(target: Target) -> ServerNames:
    """Return the names and addresses of a target's Docker API.

    Raises:
        InputError: ``host`` is neither a host name nor an address.
    """
    found = [name for name in (target.hostname, target.name) if _dns(name) or _ip(name)]
    if target.host is not None:
        found.append(_checked_name(f"targets.{target.name}: host", target.host))
    if target.docker.api is not None:
        where = f"targets.{target.name}: docker.api"
        listens = target.docker.api.removeprefix("tcp://").rpartition(":")[0].strip("[]")
        found.append(_checked_name(where, listens))
    found += ["localhost", "127.0.0.1"]
    ips = [ip for ip in map(_ip, found) if ip is not None]
    names = [_dns(name) for name in found if _ip(name) is None]
    return ServerNames(
        tuple(dict.fromkeys(name for name in names if name)),
        # 0.0.0.0 and :: mean "listen on all addresses"; nobody connects to them.
        tuple(dict.fromkeys(ip for ip in ips if not ipaddress.ip_address(ip).is_unspecified)),
    )


def _checked_name(where: str, text: str) -> str:
    if _ip(text) is None and not _dns(text):
        raise InputError(f"{where}: {text!r} is neither a host name nor an IP address")
    return text


def _dns(text: str) -> str:
    name = text.lower().removesuffix(".")
    return name if _DNS_NAME.fullmatch(name) and len(name) <= 253 else ""


def _ip(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def check_client_name(name: str) -> str:
    """Return ``name`` if a client may have it; the client's folder gets this name.

    Raises:
        InputError: a client cannot have this name.
    """
    if not _CLIENT.fullmatch(name):
        raise InputError(
            f"{name!r}: a client's name is a-z, 0-9, '.', '_' and '-', at most 63"
            " characters, the first a letter or digit"
        )
    return name


def make_authority(scope: Scope, now: datetime) -> KeyPair:
    """Return a new authority, which signs its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The name contains a part of the serial number. If the old and the new authority had the same
    # name, the error for a certificate of the old one would be "bad signature", as if a file
    # were damaged.
    name = _subject(f"Bootwright {scope} CA {serial >> 128:08x}")
    start = now - BACKDATED
    usage = x509.BasicConstraints(ca=True, path_length=0)
    builder = _builder(name, name, serial, key, start, start + AUTHORITY_VALIDITY)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return _signed(builder, own, key, key)


def common_name(kind: CertificateKind, name: str) -> str:
    """Return the common name of a certificate: usually the name of the target or client."""
    return COLLECTOR_NAME if kind == "collector" else name


def sign(
    authority: KeyPair, kind: CertificateKind, name: str, names: ServerNames, now: datetime
) -> KeyPair:
    """Return a new certificate and key, signed by ``authority``.

    Args:
        authority: that of the kind's scope.
        kind: the purpose.
        name: the name of a target or client.
        names: the names and addresses of a server; empty for a client.
        now: the time.

    Raises:
        RefusedError: the authority's key is missing, or the authority is not valid now, or not
            longer than :data:`RENEW_BEFORE`.
    """
    issuer = authority.certificate
    scope = SCOPES[kind]
    if authority.key is None:
        raise RefusedError(
            f"the key of the {scope} authority is missing, so no certificate can be made for {kind}"
            f" {name}; put ca-key.pem back, or make new certificates for all: inv pki reissue"
        )
    if now < issuer.not_valid_before_utc:
        raise RefusedError(
            f"the {scope} authority is valid from {issuer.not_valid_before_utc:%Y-%m-%d} and this"
            f" machine's clock says {now:%Y-%m-%d}; set the clock"
        )
    if issuer.not_valid_after_utc - now < RENEW_BEFORE:
        raise RefusedError(
            f"the {scope} authority ends on {issuer.not_valid_after_utc:%Y-%m-%d}; make a new one,"
            " and new certificates for all: inv pki reissue"
        )
    signer = load_pem_private_key(authority.key.reveal(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    start = now - BACKDATED
    end = min(start + VALIDITY, issuer.not_valid_after_utc)
    serial = x509.random_serial_number()
    subject = _subject(common_name(kind, name))
    builder = _builder(subject, issuer.subject, serial, key, start, end)
    constraint = x509.BasicConstraints(ca=False, path_length=None)
    builder = builder.add_extension(constraint, critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    server = kind in ("server", "collector")
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if names.words():
        builder = builder.add_extension(_alternative(names), critical=False)
    theirs = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return _signed(builder, theirs, key, signer)


def needs_renewal(
    certificate: x509.Certificate,
    names: ServerNames | None,
    now: datetime,
    authority: x509.Certificate,
    subject: str | None = None,
) -> str:
    """Return why a certificate is due for renewal; empty if it is not.

    Args:
        certificate: the one in use.
        names: those that should be in it; ``None``: they are not known and not compared.
        now: the time.
        authority: the current authority of its scope.
        subject: the common name that it should have; ``None``: it is not compared.
    """
    if now >= certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return "it is signed by another authority"
    if (left := certificate.not_valid_after_utc - now) < RENEW_BEFORE:
        return f"{left.days} days are left"
    if names is not None and set(names.words()) != set(names_in(certificate).words()):
        return f"its names are now {', '.join(names.words()) or 'none'}"
    if subject is not None and not has_common_name(certificate, subject):
        return f"its common name is now {subject}"
    return ""


def has_common_name(certificate: x509.Certificate, name: str) -> bool:
    """Return whether a certificate's subject is this common name."""
    return certificate.subject == _subject(name)


def authority_needs_renewal(certificate: x509.Certificate, now: datetime) -> str:
    """Return why an authority is due for renewal; empty if it is not."""
    if now >= certificate.not_valid_after_utc:
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    if certificate.not_valid_after_utc - now < VALIDITY:
        return "it ends before a new certificate would"
    return ""


def names_in(certificate: x509.Certificate) -> ServerNames:
    """Return the names that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ServerNames()
    return ServerNames(
        tuple(found.get_values_for_type(x509.DNSName)),
        tuple(str(ip) for ip in found.get_values_for_type(x509.IPAddress)),
    )


def parse_certificate(pem: bytes) -> x509.Certificate:
    """Return the certificate in ``pem``.

    Raises:
        InputError: ``pem`` is not a certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise InputError("this is not a certificate in PEM") from None


def check_key(certificate: x509.Certificate, key: Secret) -> None:
    """Check that ``key`` belongs to the certificate.

    Raises:
        InputError: it belongs to another one, or is not a key. The message does not quote the key.
    """
    try:
        public = load_pem_private_key(key.reveal(), None).public_key()
    except (ValueError, TypeError):
        raise InputError("this is not a private key without a passphrase in PEM") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise InputError("this key belongs to another certificate than the one beside it")


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    serial: int,
    key: ec.EllipticCurvePrivateKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .public_key(key.public_key())
        .not_valid_before(start.astimezone(UTC))
        .not_valid_after(end.astimezone(UTC))
    )


def _signed(
    builder: x509.CertificateBuilder,
    issuer: x509.SubjectKeyIdentifier,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
) -> KeyPair:
    """Add both key identifiers, which strict TLS libraries require, and sign."""
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    theirs = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    builder = builder.add_extension(own, critical=False).add_extension(theirs, critical=False)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(builder.sign(signer, hashes.SHA256()), Secret(pem))


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(names: ServerNames) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    found += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips]
    return x509.SubjectAlternativeName(found)
