"""Making what is unique to a card: identifiers, MAC address, SSH host keys."""

import secrets
import uuid

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bootwright.card.personalise import CardIdentity, HostKey
from bootwright.core.secret import Secret


def new_identity(mac: str, comment: str) -> CardIdentity:
    """Return a fresh identity.

    Args:
        mac: an address, or ``auto`` for a random one of the locally administered range.
        comment: the host name, for the end of the public host keys.
    """
    return CardIdentity(
        root_uuid=str(uuid.uuid4()),
        luks_uuid=str(uuid.uuid4()),
        disk_id=f"{secrets.randbelow(2**32 - 1) + 1:08x}",
        hash_seed=str(uuid.uuid4()),
        machine_id=uuid.uuid4().hex,
        mac=_random_mac() if mac == "auto" else mac,
        host_keys=(
            _host_key("ed25519", ed25519.Ed25519PrivateKey.generate(), comment),
            _host_key("ecdsa", ec.generate_private_key(ec.SECP256R1()), comment),
        ),
    )


def _random_mac() -> str:
    # First octet 02: unicast, locally administered (IEEE 802-2014, 8.2).
    return ":".join(f"{octet:02x}" for octet in (0x02, *secrets.token_bytes(5)))


def _host_key(
    kind: str, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, comment: str
) -> HostKey:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return HostKey(kind, Secret(private), f"{public.decode()} root@{comment}")
