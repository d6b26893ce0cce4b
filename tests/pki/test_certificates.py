"""What is in a certificate, and when a new one is due."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from bootwright.core.errors import InputError, RefusedError
from bootwright.pki.certificates import (
    KeyPair,
    ServerNames,
    authority_needs_renewal,
    check_client_name,
    make_authority,
    names_in,
    needs_renewal,
    server_names,
    sign,
)
from tests.support.pki import DAY, NAMES, NOW, target


def extension(pair: KeyPair, kind: type[x509.ExtensionType]) -> tuple[Any, bool]:
    found = pair.certificate.extensions.get_extension_for_class(kind)
    return found.value, found.critical


def test_an_authority() -> None:
    authority = make_authority("docker", NOW)
    certificate = authority.certificate
    basic, critical = extension(authority, x509.BasicConstraints)
    assert (basic.ca, basic.path_length, critical) == (True, 0, True)
    usage, critical = extension(authority, x509.KeyUsage)
    assert critical
    assert usage.key_cert_sign and usage.crl_sign and not usage.digital_signature
    own, _ = extension(authority, x509.SubjectKeyIdentifier)
    issuer, _ = extension(authority, x509.AuthorityKeyIdentifier)
    assert issuer.key_identifier == own.digest
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc == NOW - DAY + timedelta(days=3652)
    certificate.verify_directly_issued_by(certificate)
    assert make_authority("docker", NOW).certificate.subject != certificate.subject


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        ("server", ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("log", ExtendedKeyUsageOID.CLIENT_AUTH),
    ],
)
def test_a_certificate_of_a_server_and_of_a_client(
    kind: Any, purpose: x509.ObjectIdentifier
) -> None:
    authority = make_authority("docker", NOW)
    names = NAMES if kind == "server" else ServerNames()
    leaf = sign(authority, kind, "odroid", names, NOW)
    certificate = leaf.certificate
    basic, critical = extension(leaf, x509.BasicConstraints)
    assert (basic.ca, critical) == (False, True)
    usage, critical = extension(leaf, x509.KeyUsage)
    assert critical and usage.digital_signature and not usage.key_cert_sign
    assert list(extension(leaf, x509.ExtendedKeyUsage)[0]) == [purpose]
    issuer, _ = extension(leaf, x509.AuthorityKeyIdentifier)
    assert issuer.key_identifier == extension(authority, x509.SubjectKeyIdentifier)[0].digest
    assert certificate.subject.rfc4514_string() == "CN=odroid"
    assert names_in(certificate) == names
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == 397 * DAY
    certificate.verify_directly_issued_by(authority.certificate)


def test_no_certificate_is_valid_longer_than_its_authority() -> None:
    authority = make_authority("docker", NOW)
    end = authority.certificate.not_valid_after_utc
    late = sign(authority, "client", "ci", ServerNames(), end - 31 * DAY)
    assert late.certificate.not_valid_after_utc == end
    for when, why in ((end - 29 * DAY, "ends on 2036"), (NOW - 2 * DAY, "set the clock")):
        with pytest.raises(RefusedError, match=why):
            sign(authority, "client", "ci", ServerNames(), when)
    with pytest.raises(RefusedError, match=r"put ca-key\.pem back"):
        sign(KeyPair(authority.certificate, None), "client", "ci", ServerNames(), NOW)


@pytest.mark.parametrize(
    ("values", "dns", "ips"),
    [
        ({}, ("board", "odroid", "localhost"), ("127.0.0.1",)),
        ({"hostname": "odroid"}, ("odroid", "localhost"), ("127.0.0.1",)),
        ({"host": "192.0.2.10"}, ("board", "odroid", "localhost"), ("192.0.2.10", "127.0.0.1")),
        ({"host": "2001:DB8::0:1"}, ("board", "odroid", "localhost"), ("2001:db8::1", "127.0.0.1")),
        ({"host": "Board.Lan."}, ("board", "odroid", "board.lan", "localhost"), ("127.0.0.1",)),
        ({"host": "localhost"}, ("board", "odroid", "localhost"), ("127.0.0.1",)),
        ({"name": "10.0.0.9"}, ("board", "localhost"), ("10.0.0.9", "127.0.0.1")),
        ({"name": "a..b-"}, ("board", "localhost"), ("127.0.0.1",)),
        (
            {"docker": {"api": "tcp://[2001:db8::2]:2376"}},
            ("board", "odroid", "localhost"),
            ("2001:db8::2", "127.0.0.1"),
        ),
        (
            {"docker": {"api": "tcp://0.0.0.0:2376"}},
            ("board", "odroid", "localhost"),
            ("127.0.0.1",),
        ),
    ],
)
def test_names_of_a_server(
    values: dict[str, Any], dns: tuple[str, ...], ips: tuple[str, ...]
) -> None:
    names = server_names(target(**values))
    assert names == ServerNames(dns, ips)
    leaf = sign(make_authority("docker", NOW), "server", "odroid", names, NOW)
    assert names_in(leaf.certificate) == names


@pytest.mark.parametrize("host", ["192.0.2.300", "1.2.3.4.5"])
def test_a_host_that_is_neither_name_nor_address_is_refused(host: str) -> None:
    with pytest.raises(InputError, match=r"targets\.odroid: host: .* is neither"):
        server_names(target(host=host))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "Alice", "-a", "a b", "a\n", "é", "a" * 64])
def test_wrong_names_of_clients_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="a client's name is"):
        check_client_name(name)
    assert check_client_name("ci.example-2_x") == "ci.example-2_x"


@pytest.mark.parametrize(
    ("days", "names", "why"),
    [
        (0, NAMES, ""),
        (0, ServerNames(NAMES.dns[::-1], NAMES.ips[::-1]), ""),
        (0, None, ""),
        (365, NAMES, ""),
        (366, NAMES, ""),
        (366.1, NAMES, "29 days are left"),
        (395.9, NAMES, "0 days are left"),
        (396, NAMES, "expired on 2027-06-04"),
        (1000, None, "expired on 2027-06-04"),
        (-1, NAMES, ""),
        (-1.1, NAMES, "not valid before 2026-05-03"),
        (0, ServerNames(), "its names are now none"),
        (
            0,
            ServerNames(("board", "localhost"), ("127.0.0.1",)),
            "DNS:board, DNS:localhost, IP:127",
        ),
        (0, ServerNames(("board", "other", "localhost"), NAMES.ips), "DNS:other"),
    ],
)
def test_when_renewal_is_due(days: float, names: ServerNames | None, why: str) -> None:
    authority = make_authority("docker", NOW)
    leaf = sign(authority, "server", "odroid", NAMES, NOW)
    found = needs_renewal(leaf.certificate, names, NOW + days * DAY, authority.certificate)
    assert why in found
    assert bool(found) == bool(why)


def test_another_authority_makes_renewal_due() -> None:
    leaf = sign(make_authority("docker", NOW), "server", "odroid", NAMES, NOW)
    other = make_authority("docker", NOW).certificate
    assert "another authority" in needs_renewal(leaf.certificate, NAMES, NOW, other)


@pytest.mark.parametrize(
    ("days", "why"), [(0, ""), (3253, ""), (3255, "ends before"), (3651, "expired"), (-2, "before")]
)
def test_when_renewal_of_an_authority_is_due(days: int, why: str) -> None:
    certificate = make_authority("docker", NOW).certificate
    assert why in authority_needs_renewal(certificate, NOW + days * DAY)
    assert bool(authority_needs_renewal(certificate, NOW + days * DAY)) == bool(why)
