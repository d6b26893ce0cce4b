"""`inv logs` as an operator calls it: serve, tail, web."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bootwright.core.errors import InputError
from bootwright.logs.command import days_left
from bootwright.logs.io.quotas import note_refusal
from bootwright.logs.record import LogContainer
from bootwright.pki.certificate_store import CertificateStore, CertificateSubject, StoreChange
from bootwright.pki.certificates import KeyPair, ServerNames, make_authority, names_in, sign
from tests.support.bench import INV, Bench
from tests.support.logship import DEADLINE_S, Operator, free_port, need_syslog_ng, relay, until
from tests.support.schemas import check_broken_documents, check_document

pytestmark = pytest.mark.integration

TARGET = '[targets.odroid]\nboard = "odroid-xu3"\nrootfs = "debian"\n'


class Desk:
    """An operator's checkout, with a collector that is configured for loopback."""

    def __init__(self, root: Path) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.bench = Bench(root)
        self.configure("")
        self.bench.env["BOOTWRIGHT_PKI"] = str(root / "pki")
        self.bench.env["BOOTWRIGHT_LOGS"] = str(root / "logs")
        self.operator = Operator(root, port=self.port)

    def configure(self, more: str) -> None:
        text = (
            f'{TARGET}[logs]\nserver = "127.0.0.1"\nport = {self.port}\n[logs.collector]\n'
            f'listen = "127.0.0.1"\nport = {self.port}\ntls_port = {self.tls_port}\n{more}'
        )
        if self.bench.checkout.parent != self.bench.root:
            self.bench.own_checkout("")
        (self.bench.checkout / "bootwright.toml").write_text(text)

    def logs(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(INV), "logs", *argv],
            cwd=self.bench.checkout,
            env=self.bench.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    @contextmanager
    def running(
        self,
        *argv: str,
        until_printed: str = "http",
        ends: int = 0,
        before: tuple[str, ...] = (),
    ) -> Iterator[Path]:
        """Run it while the context lasts; yield the file with its output after the first output."""
        message = self.bench.root / "messages"
        with message.open("wb") as file:
            child = subprocess.Popen(
                [*before, str(INV), "logs", *argv],
                cwd=self.bench.checkout,
                env=self.bench.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

        def heard() -> bool:
            assert child.poll() is None, message.read_text()
            return until_printed in message.read_text()

        try:
            until(heard, f"inv logs {argv} says {until_printed}")
            yield message
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == ends, message.read_text()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    need_syslog_ng()
    return Desk(tmp_path_factory.mktemp("desk"))


def test_collected_logs_are_shown(desk: Desk, tmp_path: Path) -> None:
    with desk.running("serve") as message, relay(tmp_path / "board", desk.operator) as board:
        assert f"boards deliver to https://127.0.0.1:{desk.port}/v1/records" in message.read_text()
        board.write([b"first", b"second \x1b[31m"])
        board.write([b"broken"], priority=27)
        until(lambda: len(desk.operator.texts("odroid")) == 3, "they arrive")

    shown = desk.logs("tail", "odroid", "--container", "web")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == [
        "2026-11-26 02:00:00.123 web: first",
        "2026-11-26 02:00:00.123 web: second #033[31m",
        "2026-11-26 02:00:00.123 web: err: broken",
    ]
    printed = json.loads(desk.logs("tail", "odroid", "--json", "--severity", "err").stdout)
    found = check_document("logs", printed)
    check_broken_documents("logs", found)
    assert found["target"] == "odroid"
    (record,) = found["records"]
    assert record["text"] == "broken"
    assert record["container"]["image"] == "registry:5000/app:1"
    assert desk.logs("tail", "odroid", "--grep", "^sec", "--lines", "1").stdout.count("\n") == 1
    later = desk.logs("tail", "odroid", "--since", "2999-11-27")
    assert (later.returncode, later.stdout) == (0, "")
    assert "no record of odroid is like that" in later.stderr

    follow = ("tail", "odroid", "--follow", "--container", "web")
    with desk.running(*follow, until_printed="broken", ends=-signal.SIGTERM) as message:
        line = "<30>1 2026-11-26T02:00:01Z odroid web - - - it goes on"
        desk.operator.store.append("odroid", [line, line.replace("web", "db")], now().date())
        until(lambda: "it goes on" in message.read_text(), "it is shown")
    assert message.read_text().count("it goes on") == 1


@pytest.mark.parametrize("transport", ["tls", "tcp", "udp"])
def test_syslog_senders_are_served_by_a_real_syslog_ng(
    desk: Desk, tmp_path: Path, transport: str
) -> None:
    plain = free_port()
    desk.configure(f"tcp_port = {plain}\nudp_port = {plain}\n")
    port = desk.tls_port if transport == "tls" else plain
    # Who sends is the certificate's name, or else no more than an address.
    sender = f"by-{transport}" if transport == "tls" else "127.0.0.1"
    try:
        with (
            desk.running("serve"),
            relay(
                tmp_path / "board",
                desk.operator,
                name=f"by-{transport}",
                transport=transport,
                port=port,
            ) as board,
        ):
            # One by one: a server before 4.8 knows the name in the certificate only for the first
            # record that comes in one piece of TLS.
            for text in (b"%s \x00 two\nlines" % transport.encode(), b"second"):
                board.write([text])
                wanted = text.replace(b"\x00", b"#000").replace(b"\n", b"#012").decode()
                until(lambda: wanted in every(desk, sender), f"{wanted} arrives")  # noqa: B023
            board.write([b"own tag"], tag=f"tag-{transport}")
            until(lambda: "own tag" in every(desk, sender), "it arrives")
    finally:
        desk.configure("")
    found = [one for one in desk.operator.records(sender) if one.text == "second"]
    assert found[-1].app == "web"
    assert found[-1].container == LogContainer("web", "registry:5000/app:1", "0123456789ab")


def test_a_syslog_sender_that_fills_the_disk_is_stopped_and_no_other(desk: Desk) -> None:
    plain = free_port()
    desk.configure(f'tcp_port = {plain}\nkeep_bytes = "16MiB"\n')

    def send(address: str, *texts: str) -> None:
        data = "".join(f"<13>1 - - web - - - {text}\n" for text in texts).encode()
        local = (address, 0)
        with socket.create_connection(("127.0.0.1", plain), DEADLINE_S, local) as sender:
            sender.sendall(data)

    try:
        with desk.running("serve"):
            send("127.0.0.2", "the first")
            until(lambda: "the first" in desk.operator.texts("127.0.0.2"), "it arrives")
            today = now().date()
            desk.operator.store.append("127.0.0.2", ["x" * (1 << 20)] * 16, today)
            why = "not stored since .*: its logs of one day need more than keep_bytes"
            until(lambda: re.search(why, desk.logs("check").stdout), "it is stopped")
            # syslog-ng reads its new configuration.
            until(lambda: _stopped_at(send, desk) == _stopped_at(send, desk), "nothing is stored")
            send("127.0.0.3", "a record of another")
            until(lambda: "a record of another" in desk.operator.texts("127.0.0.3"), "it arrives")
    finally:
        desk.configure("")


def _stopped_at(send: Callable[..., None], desk: Desk) -> int:
    """Have the stopped sender send once more, then another one; return the bytes of the first."""
    number = str(time.monotonic_ns())
    send("127.0.0.2", number)
    send("127.0.0.3", number)
    until(lambda: number in desk.operator.texts("127.0.0.3"), "it arrives")
    return desk.operator.store.used("127.0.0.2")


def every(desk: Desk, sender: str) -> list[str]:
    # The first record of a connection may be without the certificate's name: by its address then.
    boards = {sender, "127.0.0.1"}
    return [record.text for board in boards for record in desk.operator.records(board)]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["show"], 2, "is none of serve, tail, check, web, unit, compose"),
        (["tail"], 2, "takes one target"),
        (["serve", "odroid"], 2, "takes no target"),
        (["tail", "nobody"], 2, "no target 'nobody'"),
        (["tail", "odroid", "--since", "soon"], 2, "--since 'soon'"),
        (["tail", "odroid", "--grep", "("], 2, "not a regular expression"),
        (["tail", "odroid", "--severity", "loud"], 2, "is none of emerg"),
        (["tail", "odroid", "--lines", "0"], 2, "--lines"),
        (["tail", "odroid", "--follow", "--json"], 2, "give only one of them"),
        (["web", "--port", "99999"], 2, "--port"),
        (["serve", "--listen", "not an address"], 2, "--listen"),
        (["serve", "--listen", "nobody.invalid"], 2, "is not an address"),
        # Of a network for documentation (RFC 5737), so no machine has it.
        (["serve", "--listen", "192.0.2.1"], 2, "is not an address of this machine"),
        (["serve", "--port", "7000"], 2, "--port is for inv logs web"),
        (["check", "odroid"], 2, "check: takes no target"),
        (["web", "--json"], 2, "--json is for inv logs tail and check"),
        (["tail", "odroid", "--listen", "127.0.0.1"], 2, "--listen is for inv logs serve"),
    ],
)
def test_wrong_input_is_refused_with_a_message(
    desk: Desk, argv: Sequence[str], code: int, message: str
) -> None:
    done = desk.logs(*argv)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_error_for_a_board_without_logs_lists_boards_with_logs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    done = desk.logs("tail", "odroid")
    assert done.returncode == 2
    assert "no logs of 'odroid'" in done.stderr
    assert "boards there: none" in done.stderr


def test_a_port_in_use_is_an_error(desk: Desk) -> None:
    with desk.running("serve"):
        second = desk.logs("serve")
    assert second.returncode == 4
    assert f"127.0.0.1:{desk.port}: Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_trouble_of_a_board_is_an_exit_status_and_a_warning(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    store = desk.operator.store
    for board in ("odroid", "lab"):
        store.append(board, ["<13>1 - - p - - - text"], now().date())
    good = desk.logs("check")
    assert good.returncode == 0, good.stderr
    assert good.stdout == "lab: 23 B of 4.0 GiB: good\nodroid: 23 B of 4.0 GiB: good\n"
    note_refusal(store, "odroid", "the disk is full")
    bad = desk.logs("check")
    assert bad.returncode == 4
    assert "lab: 23 B of 4.0 GiB: good\n" in bad.stdout
    assert "odroid: 23 B of 4.0 GiB: new records are not stored since" in bad.stdout
    documented = desk.logs("check", "--json")
    document = json.loads(documented.stdout)
    assert (documented.returncode, document["good"]) == (4, False)
    assert [(one["board"], bool(one["trouble"])) for one in document["boards"]] == [
        ("lab", False),
        ("odroid", True),
    ]
    tail = desk.logs("tail", "odroid")
    assert (tail.returncode, tail.stdout) == (0, "- p: text\n")
    assert "odroid: new records are not stored since" in tail.stderr
    assert "the disk is full" in tail.stderr
    # Also what happens while records are followed.
    follow = ("tail", "lab", "--follow")
    with desk.running(*follow, until_printed="text", ends=-signal.SIGTERM) as message:
        note_refusal(store, "lab", "it has too many records")
        until(lambda: "it has too many records" in message.read_text(), "it is shown")


def test_the_page_shows_the_logs(desk: Desk) -> None:
    with desk.running("web") as message:
        url = message.read_text().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            assert b"<title>" in answer.read()
        with urllib.request.urlopen(f"{url}api/boards", timeout=DEADLINE_S) as answer:
            assert "odroid" in {board["name"] for board in json.load(answer)["boards"]}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('forward = "loki"\n', "forward and forward_url are given together"),
        ("keep_days = 1\n", "keep_days"),
        ('keep_bytes = "1MiB"\n', "keep_bytes: '1MiB' is less than 16MiB"),
        ('keep_bytes = "much"\n', "keep_bytes"),
        ("tcp_port = 514\n", "1024"),
        ('colour = "red"\n', "colour: unknown key"),
    ],
)
def test_the_error_for_a_wrong_configuration_says_where(
    desk: Desk, more: str, message: str
) -> None:
    desk.configure(more)
    try:
        done = desk.logs("serve")
    finally:
        desk.configure("")
    assert done.returncode == 2
    assert "bootwright.toml: logs.collector" in done.stderr
    assert message in done.stderr


def test_boards_are_served_also_without_syslog_ng(desk: Desk) -> None:
    place = shutil.which("syslog-ng")
    assert place is not None
    hidden = 'mount --bind /dev/null "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", hidden, place)
    with desk.running("serve", before=before) as message:
        assert "syslog-ng is not installed" in message.read_text()
        assert "scripts/setup logs installs it" in message.read_text()


def test_syslog_ng_is_found_where_only_root_has_it_in_the_path(desk: Desk, tmp_path: Path) -> None:
    for name in ("python3", "sh", "env"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    path, desk.bench.env["PATH"] = desk.bench.env["PATH"], str(tmp_path)
    try:
        with desk.running("serve") as message:
            assert "is not installed" not in message.read_text()
            with socket.create_connection(("127.0.0.1", desk.tls_port), DEADLINE_S):
                pass
    finally:
        desk.bench.env["PATH"] = path


def test_it_runs_as_a_service(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    unit = desk.logs("unit", "--user", "keeper")
    assert unit.returncode == 0, unit.stderr
    assert "User=keeper\n" in unit.stdout
    assert f"ExecStart={desk.bench.checkout}/.venv/bin/inv logs serve\n" in unit.stdout
    # The service cannot make its certificate.
    own = desk.operator.pki.subject_folder(CertificateSubject("collector", "collector"))
    for name in ("ca.pem", "cert.pem", "key.pem"):
        assert f"LoadCredential={name}:{own}/{name}\n" in unit.stdout
        assert (own / name).is_file()
    assert desk.logs("unit", "--user", "root").returncode == 2
    # Who owns the checkout may have keys of boards.
    if os.geteuid() == 0:
        os.chown(desk.bench.checkout, 12345, -1)
    mine = desk.logs("unit", "--user", str(desk.bench.checkout.stat().st_uid))
    assert (mine.returncode, mine.stdout) == (2, "")
    assert "a user of its own" in mine.stderr


def test_it_runs_in_a_container(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    early = desk.logs("compose")
    assert (early.returncode, early.stdout) == (2, "")
    assert "run inv logs serve once to make it" in early.stderr
    with desk.running("serve"):
        pass
    compose = desk.logs("compose")
    if os.geteuid() == 0:
        # The container would run as the owner of the key.
        assert (compose.returncode, compose.stdout) == (2, "")
        assert "must not run as root" in compose.stderr
        place = desk.operator.pki.folder
        for path in (place, *place.rglob("*")):
            os.chown(path, 12345, 12345, follow_symlinks=False)
        compose = desk.logs("compose")
    assert compose.returncode == 0, compose.stderr
    assert 'user: "' in compose.stdout
    assert f'"{desk.port}:{desk.port}/tcp"' in compose.stdout


def test_a_service_warns_before_its_certificate_ends(tmp_path: Path) -> None:
    authority = make_authority("logs", now())
    names = ServerNames(("localhost",), ("127.0.0.1",))
    pair = sign(authority, "collector", "collector", names, now())
    assert days_left(write_certificate(tmp_path, pair), now() + timedelta(days=390)) == 5
    with pytest.raises(InputError, match=r"cert\.pem: this is not a certificate"):
        (tmp_path / "cert.pem").write_text("nothing")
        days_left(tmp_path / "cert.pem", now())
    with pytest.raises(InputError, match="No such file"):
        days_left(tmp_path / "none.pem", now())


def test_the_end_of_the_certificate_is_an_exit_status(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    none = desk.logs("check")
    assert (none.returncode, "certificate" in none.stdout) == (0, False)
    for age, status, sentence in (
        (timedelta(), 0, "valid for 395 days: good"),
        (timedelta(days=367), 4, "it ends in 28 days: renew it"),
        (timedelta(days=400), 4, "it has ended: renew it"),
    ):
        start = now() - age
        names = ServerNames(("localhost",))
        pair = sign(make_authority("logs", start), "collector", "collector", names, start)
        desk.bench.env["BOOTWRIGHT_COLLECTOR_CERTIFICATES"] = str(tmp_path)
        write_certificate(tmp_path, pair)
        done = desk.logs("check")
        assert f"collector's certificate: {sentence}" in done.stdout
        assert done.returncode == status, done.stderr
    (tmp_path / "cert.pem").unlink()
    missing = desk.logs("check")
    assert missing.returncode == 2
    assert "cert.pem: cannot read it" in missing.stderr


def test_a_certificate_with_the_old_name_is_used_if_it_cannot_be_renewed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.logs("unit").returncode == 0
    subject = CertificateSubject("collector", "collector")

    def with_old_name(held: CertificateStore) -> StoreChange:
        names = names_in(held.pairs[subject].certificate)
        # As earlier versions did: a server's certificate whose common name is "collector".
        pair = sign(held.authorities["logs"], "server", "collector", names, now())
        return StoreChange(
            CertificateStore(held.authorities, {subject: pair}), {str(subject): "a test"}
        )

    desk.operator.pki.update(with_old_name)
    place = desk.operator.pki.subject_folder(subject)
    old = (place / "cert.pem").read_bytes()
    key = desk.operator.pki.authority_folder("logs") / "ca-key.pem"
    away = key.rename(tmp_path / "ca-key.pem")
    with desk.running("serve", until_printed="boards deliver") as message:
        assert message.read_text().count("has a name that a board could have too") == 1
    unit = desk.logs("unit")
    assert unit.returncode == 0
    assert "has a name that a board could have too" in unit.stderr
    assert (place / "cert.pem").read_bytes() == old
    checked = desk.logs("check")
    assert (checked.returncode, checked.stdout) == (
        0,
        "collector's certificate: valid for 395 days: good\n",
    )
    away.rename(key)
    unit = desk.logs("unit")
    assert (unit.returncode, unit.stderr) == (0, "")
    assert (desk.operator.pki.subject_folder(subject) / "cert.pem").read_bytes() != old


def write_certificate(folder: Path, pair: KeyPair) -> Path:
    path = folder / "cert.pem"
    path.write_bytes(pair.certificate_pem())
    return path


def test_certificates_of_a_container_are_used_as_they_are(desk: Desk, tmp_path: Path) -> None:
    with desk.running("serve"):
        pass
    own = tmp_path / "own"
    shutil.copytree(
        desk.operator.pki.subject_folder(CertificateSubject("collector", "collector")), own
    )
    env = dict(desk.bench.env)
    desk.bench.env |= {
        "BOOTWRIGHT_PKI": str(tmp_path / "none"),
        "BOOTWRIGHT_COLLECTOR_CERTIFICATES": str(own),
    }
    try:
        with desk.running("serve"), relay(tmp_path / "board", desk.operator) as board:
            board.write([b"contained"])
            until(lambda: "contained" in desk.operator.texts("odroid"), "it arrives")
    finally:
        desk.bench.env = env
    assert not (tmp_path / "none").exists()
