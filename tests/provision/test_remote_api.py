"""Docker's remote API of a provisioned native_board."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootwright.core.config import Docker, Target
from bootwright.pki.certificate_store import CertificateSubject, issue
from bootwright.pki.certificates import ServerNames, server_names
from bootwright.pki.command import issued_certificate
from bootwright.pki.io.store import PkiStore
from bootwright.provision.desired_state import TlsFiles
from tests.support.hostboard import changed_steps
from tests.support.nativeboard import NativeBoard

pytestmark = pytest.mark.integration


def test_the_remote_api_listens_with_mutual_tls_only(
    native_board: NativeBoard, tmp_path: Path
) -> None:
    pid = native_board.pid_of_old()
    api = "tcp://127.0.0.1:2376"
    target = Target(name="odroid", board="b", rootfs="r", hostname="odroid", docker=Docker(api=api))
    store, now = PkiStore(tmp_path / "pki"), datetime.now(UTC)
    made = issued_certificate(
        store, CertificateSubject("server", "odroid"), server_names(target), now
    )
    tls = TlsFiles(made.ca_pem, made.cert_pem, made.key_pem)
    client = issue(
        store.load(), CertificateSubject("client", "alice"), ServerNames(), now
    ).certificates
    pair = client.pairs[CertificateSubject("client", "alice")]
    assert pair.key is not None

    done = native_board.provision({"api": api}, tls=tls)
    assert done.error is None, done.error
    assert changed_steps(done) == {"tls", "daemon"}
    assert made.key_pem.reveal().decode() not in str(done.as_json())
    assert native_board.pid_of_old() == pid
    modes = native_board.sh("cd /etc/docker/tls && stat -c '%a %U:%G %n' *")
    assert modes.splitlines() == [
        "444 root:root ca.pem",
        "444 root:root server-cert.pem",
        "400 root:root server-key.pem",
    ]
    docker = f"docker -H {api} --tlsverify --tlscacert=/etc/docker/tls/ca.pem"
    assert "refused" in native_board.sh(f"{docker} version >/dev/null 2>&1 || echo refused")
    assert "refused" in native_board.sh(f"docker -H {api} version >/dev/null 2>&1 || echo refused")
    native_board.sh("umask 077; cat >/run/cert.pem", pair.certificate_pem())
    native_board.sh("umask 077; cat >/run/key.pem", pair.key.reveal())
    with_client = f"{docker} --tlscert=/run/cert.pem --tlskey=/run/key.pem"
    assert "old" in native_board.sh(f"{with_client} ps --format '{{{{.Names}}}}'")
    native_board.sh("docker ps")  # By the socket, as before.
    assert native_board.provision({"api": api}, tls=tls).changed == ()

    back = native_board.provision()
    assert back.error is None, back.error
    assert "hosts" not in native_board.daemon_json()
    assert "refused" in native_board.sh(f"{with_client} ps >/dev/null 2>&1 || echo refused")
    assert native_board.pid_of_old() == pid
