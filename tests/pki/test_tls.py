"""Our certificates in real TLS: Python's ssl, the openssl command, and Docker's own client."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bootwright.pki.certificate_store import CertificateSubject, issue, issue_board, reissue
from bootwright.pki.certificates import ServerNames
from bootwright.pki.io.store import PkiStore

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
NAMES = ServerNames(("board", "localhost"), ("127.0.0.1",))
SERVER = CertificateSubject("server", "odroid")
LOG = CertificateSubject("log", "odroid")
ALICE = CertificateSubject("client", "alice")


@pytest.fixture
def store(tmp_path: Path) -> PkiStore:
    return filled(tmp_path / "pki", NOW)


def filled(folder: Path, now: datetime) -> PkiStore:
    store = PkiStore(folder)
    store.update(lambda held: issue_board(held, "odroid", NAMES, now))
    for name in ("alice", "ci"):
        client = CertificateSubject("client", name)
        store.update(lambda held, client=client: issue(held, client, ServerNames(), now))  # type: ignore[misc]
    return store


def server_context(place: Path) -> ssl.SSLContext:
    """Return what dockerd does with --tlsverify, as strict as Python can be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    context.load_verify_locations(place / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def client_context(ca: Path, place: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if place is not None:
        context.load_cert_chain(place / "cert.pem", place / "key.pem")
    return context


def talk(
    server: Path, client: Path | None, name: str = "127.0.0.1", ca: Path | None = None
) -> tuple[str, str]:
    """Return what the server and the client say about a connection; ``ok`` is a word passed."""
    message: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(20)

    def serve() -> None:
        raw, _ = listening.accept()
        raw.settimeout(20)
        try:
            with server_context(server).wrap_socket(raw, server_side=True) as line:
                line.sendall(line.recv(10))
            message.append("ok")
        except OSError as error:
            message.append(str(error))
            raw.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with listening, socket.create_connection(listening.getsockname(), 20) as raw:
        try:
            context = client_context(ca or client or server, client)
            with context.wrap_socket(raw, server_hostname=name) as line:
                line.sendall(b"word")
                ours = "ok" if line.recv(10) == b"word" else "closed"
        except OSError as error:
            ours = str(error)
            raw.close()
        thread.join(30)
    return message[0], ours


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "board"])
def test_the_right_client_can_connect(store: PkiStore, name: str) -> None:
    assert talk(store.subject_folder(SERVER), store.subject_folder(ALICE), name) == ("ok", "ok")


def test_a_client_without_a_certificate_cannot_connect(store: PkiStore) -> None:
    server, client = talk(store.subject_folder(SERVER), None)
    assert "did not return a certificate" in server
    assert client != "ok"


@pytest.mark.parametrize("name", ["192.0.2.10", "odroid.example"])
def test_a_server_of_another_name_is_refused(store: PkiStore, name: str) -> None:
    server, client = talk(store.subject_folder(SERVER), store.subject_folder(ALICE), name)
    assert "mismatch" in client
    assert server != "ok"


def test_neither_a_board_s_certificate_nor_that_for_its_logs_opens_another_board(
    store: PkiStore,
) -> None:
    store.update(lambda held: issue_board(held, "other", NAMES, NOW))
    docker = store.subject_folder(SERVER)
    own, _ = talk(store.subject_folder(CertificateSubject("server", "other")), docker)
    assert "unsuitable certificate purpose" in own or "unsupported" in own
    logs, _ = talk(
        store.subject_folder(CertificateSubject("server", "other")),
        store.subject_folder(LOG),
        ca=docker,
    )
    assert "unable to get local issuer" in logs


def test_a_clients_certificate_is_not_accepted_for_a_server(store: PkiStore) -> None:
    _, client = talk(
        store.subject_folder(ALICE), store.subject_folder(CertificateSubject("client", "ci"))
    )
    assert client != "ok"


def test_after_a_reissue_old_certificates_are_refused_and_new_ones_accepted(
    store: PkiStore, tmp_path: Path
) -> None:
    stolen = shutil.copytree(
        store.subject_folder(CertificateSubject("client", "ci")), tmp_path / "stolen"
    )
    unprovisioned = shutil.copytree(store.subject_folder(SERVER), tmp_path / "unprovisioned")
    store.update(lambda held: reissue(held, "ci", NOW, {}))
    server, client = talk(store.subject_folder(SERVER), stolen, ca=store.subject_folder(SERVER))
    assert "unable to get local issuer" in server
    assert client != "ok"
    assert talk(store.subject_folder(SERVER), store.subject_folder(ALICE)) == ("ok", "ok")
    # Why the boards have to be provisioned.
    assert talk(unprovisioned, stolen) == ("ok", "ok")
    assert "certificate verify failed" in talk(unprovisioned, store.subject_folder(ALICE))[1]


def test_expired_certificates_are_refused(store: PkiStore, tmp_path: Path) -> None:
    old = filled(tmp_path / "old", NOW - timedelta(days=400))
    assert (
        "certificate has expired" in talk(old.subject_folder(SERVER), old.subject_folder(ALICE))[1]
    )
    fresh = issue_board(old.load(), "odroid", NAMES, NOW)
    old.update(lambda held: fresh)
    server, client = talk(old.subject_folder(SERVER), old.subject_folder(ALICE))
    assert "certificate has expired" in server
    assert client != "ok"


def test_openssl_agrees(store: PkiStore) -> None:
    def verify(subject: CertificateSubject, *options: str) -> str:
        place = store.subject_folder(subject)
        command = ["openssl", "verify", "-x509_strict", "-CAfile", str(place / "ca.pem")]
        done = subprocess.run(
            [*command, *options, "cert.pem"], cwd=place, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    for subject, right, wrong in (
        (SERVER, "sslserver", "sslclient"),
        (ALICE, "sslclient", "sslserver"),
        (LOG, "sslclient", "sslserver"),
    ):
        assert verify(subject, "-purpose", right) == "cert.pem: OK\n"
        assert "purpose" in verify(subject, "-purpose", wrong)
    assert verify(SERVER, "-verify_hostname", "board") == "cert.pem: OK\n"
    assert verify(SERVER, "-verify_ip", "127.0.0.1") == "cert.pem: OK\n"
    assert "mismatch" in verify(SERVER, "-verify_hostname", "other")


class Api(http.server.BaseHTTPRequestHandler):
    """As much of Docker's API as `docker version` asks for."""

    def do_GET(self) -> None:
        body = json.dumps({"Version": "99.0", "ApiVersion": "1.44", "Os": "linux"}).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.44")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class TlsServer(http.server.ThreadingHTTPServer):
    """Speaks TLS on every connection, in that connection's own thread."""

    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, True) as line:
            super().finish_request(line, client_address)


@pytest.fixture
def api(store: PkiStore) -> Iterator[int]:
    with TlsServer(("127.0.0.1", 0), Api) as server:
        server.context = server_context(store.subject_folder(SERVER))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.skipif(
    shutil.which("docker") is None, reason="Docker's client is not here: docker-cli would bring it"
)
def test_the_docker_client_can_use_a_clients_folder(
    store: PkiStore, api: int, tmp_path: Path
) -> None:
    def docker(certificates: Path) -> "subprocess.CompletedProcess[str]":
        host = f"tcp://127.0.0.1:{api}"
        return subprocess.run(
            ["docker", "--tlsverify", "-H", host, "version", "--format", "{{.Server.Version}}"],
            env=os.environ | {"DOCKER_CERT_PATH": str(certificates), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert docker(store.subject_folder(ALICE)).stdout == "99.0\n"
    stranger = filled(tmp_path / "stranger", NOW).subject_folder(ALICE)
    assert "signed by unknown authority" in docker(stranger).stderr
    assert docker(store.subject_folder(SERVER)).returncode != 0
