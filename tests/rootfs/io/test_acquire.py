"""Root file system tarballs from a real server, with signatures by real keys."""

import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bootwright.core.errors import FailedError, InputError, RefusedError
from bootwright.core.io import process
from bootwright.core.paths import checkout
from bootwright.core.report import TextReporter
from bootwright.rootfs.io import acquire as module
from bootwright.rootfs.io import openpgp
from bootwright.rootfs.io.acquire import Acquired, AcquireOptions, acquire
from bootwright.rootfs.io.curl import DownloadUnreachableError
from bootwright.rootfs.source import Tarball, load_rootfs_source
from tests.support.gpgkeys import LONG_AGO, KeyRing, keyring
from tests.support.webserver import Resource, Server, serving

pytestmark = pytest.mark.integration

BODY = random.Random(2).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
PATH = "/os/Linux-board-latest.tar.gz"
LOOKUP = "/pks/lookup"


@dataclass(frozen=True)
class Keys:
    ring: KeyRing
    good: str
    other: str
    expired: str
    revoked: str
    with_subkey: str


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with keyring() as ring:
        made = Keys(
            ring,
            good=ring.make("good"),
            other=ring.make("other"),
            expired=ring.make("expired", expires="2d", at=LONG_AGO),
            revoked=ring.make("revoked"),
            with_subkey=ring.make("with-subkey"),
        )
        ring.add_subkey(made.with_subkey)
        yield made


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        running.site[PATH] = Resource(BODY, etag='"one"')
        running.site[PATH + ".md5"] = Resource(f"{MD5}  Linux-board-latest.tar.gz\n".encode())
        yield running


class Operator:
    """Acquires from the test's server and keeps the messages in ``stderr_text``."""

    def __init__(self, server: Server, keys: Keys, cache: Path) -> None:
        self.server, self.keys, self.cache = server, keys, cache
        self.pinned = keys.good
        self.stderr_text = ""

    def publish(self, signature: bytes, key: str) -> None:
        self.server.site[PATH + ".sig"] = Resource(signature)
        self.server.site[LOOKUP] = Resource(self.keys.ring.public(key))

    def sign(self, key: str, data: bytes = BODY, at: str | None = None) -> None:
        self.publish(self.keys.ring.sign(key, data, at=at), key)

    def __call__(self, **options: object) -> Acquired:
        source = Tarball(
            name="linux",
            summary="a test",
            kernel="/boot/zImage",
            kind="tarball",
            url=self.server.address + "/os/Linux-{platform}-latest.tar.gz",
            signature_suffix=".sig",
            digest_suffix=".md5",
            signing_key=self.pinned,
            keyserver=self.server.address.replace("http", "hkp"),
        )
        out = io.StringIO()
        try:
            given = AcquireOptions(**options)  # type: ignore[arg-type]
            return acquire(source, "board", given, self.cache, TextReporter(out))
        finally:
            self.stderr_text = out.getvalue()

    def downloads(self) -> int:
        return len(self.server.requests(PATH))


@pytest.fixture
def get(server: Server, keys: Keys, tmp_path: Path) -> Operator:
    return Operator(server, keys, tmp_path / "cache")


def test_good_signature(get: Operator) -> None:
    get.sign(get.keys.good)
    got = get()
    assert (got.verified_by, got.sha256, got.signer) == ("signature", SHA256, get.keys.good)
    assert got.path == get.cache / "tarballs" / "sha256" / f"{SHA256}.tar.gz"
    assert got.path.read_bytes() == BODY
    assert got.source_url == get.server.address + PATH
    assert "warning" not in get.stderr_text
    assert [path.suffix for path in (get.cache / "partial").iterdir()] == [".lock"]


def test_signature_by_a_subkey_of_the_pinned_key(get: Operator) -> None:
    get.pinned = get.keys.with_subkey
    get.sign(get.keys.with_subkey)
    assert get().verified_by == "signature"


def test_tampered_tarball_is_refused_even_with_the_flag(get: Operator) -> None:
    get.sign(get.keys.good, BODY + b"!")
    for flag in (False, True):
        with pytest.raises(RefusedError, match="not what was signed"):
            get(unverified=flag)
    assert not list(get.cache.glob("tarballs/sha256/*"))
    assert [path.suffix for path in (get.cache / "partial").iterdir()] == [".lock"]


def test_signature_by_another_key_is_refused(get: Operator) -> None:
    signature = get.keys.ring.sign(get.keys.other, BODY)
    get.publish(signature, get.keys.good)
    with pytest.raises(RefusedError, match="by another key than the pinned"):
        get()
    # It is refused even if the keyserver adds the forger's key to its answer.
    both = get.keys.ring.public(get.keys.good) + get.keys.ring.public(get.keys.other)
    get.server.site[LOOKUP] = Resource(both)
    with pytest.raises(RefusedError, match=f"{get.keys.other}: not the pinned key"):
        get()


def test_keyserver_that_gives_another_key(get: Operator) -> None:
    get.publish(get.keys.ring.sign(get.keys.other, BODY), get.keys.other)
    with pytest.raises(InputError, match=f"should be {get.keys.good}, but it is {get.keys.other}"):
        get()


def test_expired_key_is_refused(get: Operator) -> None:
    get.pinned = get.keys.expired
    get.sign(get.keys.expired, at=LONG_AGO)
    with pytest.raises(RefusedError, match="the key has expired"):
        get()


def test_revoked_key_is_refused(get: Operator) -> None:
    get.pinned = get.keys.revoked
    signature = get.keys.ring.sign(get.keys.revoked, BODY)
    get.keys.ring.revoke(get.keys.revoked)
    get.publish(signature, get.keys.revoked)
    with pytest.raises(RefusedError, match="the key is revoked"):
        get()


def test_an_inline_signed_message_is_not_a_signature_of_the_file(get: Operator) -> None:
    get.publish(get.keys.ring.sign_inline(get.keys.good, b"something else"), get.keys.good)
    with pytest.raises(RefusedError, match="contains no signature"):
        get()
    assert not list(get.cache.glob("tarballs/sha256/*"))


def test_an_html_page_instead_of_a_signature_is_refused(get: Operator) -> None:
    get.publish(b"<html>please log in</html>", get.keys.good)
    with pytest.raises(RefusedError, match="contains no signature"):
        get()


def test_missing_signature_is_refused_before_the_download(get: Operator) -> None:
    with pytest.raises(RefusedError, match="no signature is published") as caught:
        get()
    assert "MD5 can be forged" in str(caught.value)
    assert get.downloads() == 0


def test_missing_signature_with_a_pin(get: Operator) -> None:
    got = get(sha256=SHA256.upper())
    assert (got.verified_by, got.signer) == ("pin", None)
    assert "warning" not in get.stderr_text


def test_missing_signature_with_the_flag_warns(get: Operator) -> None:
    got = get(unverified=True)
    assert got.verified_by == "none"
    assert "used UNVERIFIED" in get.stderr_text


def test_unverified_copy_is_not_used_without_the_flag(get: Operator) -> None:
    get(unverified=True)
    with pytest.raises(RefusedError):
        get()
    get.server.site.clear()
    get.server.site[PATH] = Resource(b"", status=503)
    with pytest.raises(DownloadUnreachableError):
        get()
    assert get(unverified=True).verified_by == "none"
    assert "used UNVERIFIED" in get.stderr_text
    assert get.downloads() == 1


def test_unverified_copy_is_verified_once_a_signature_appears(get: Operator) -> None:
    get(unverified=True)
    get.sign(get.keys.good)
    assert get().verified_by == "signature"
    assert get.downloads() == 1


def test_wrong_pin_is_refused_though_the_signature_is_good(get: Operator) -> None:
    get.sign(get.keys.good)
    with pytest.raises(RefusedError, match=f"pinned SHA-256 {'0' * 64}"):
        get(sha256="0" * 64)
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        get(sha256="0" * 63)


def test_a_bad_signature_is_refused_even_with_the_right_pin(get: Operator) -> None:
    get.sign(get.keys.good, BODY + b"!")
    with pytest.raises(RefusedError, match="not what was signed"):
        get(sha256=SHA256)


def test_a_key_that_cannot_be_obtained(get: Operator, tmp_path: Path) -> None:
    get.sign(get.keys.good)
    del get.server.site[LOOKUP]
    with pytest.raises(RefusedError, match="could not be obtained"):
        get()
    assert get.downloads() == 0
    got = get(sha256=SHA256)
    assert (got.verified_by, got.signer) == ("pin", None)
    assert "NOT checked" in get.stderr_text
    key_file = tmp_path / "key.asc"
    key_file.write_bytes(get.keys.ring.public(get.keys.good))
    assert get(key_file=key_file).verified_by == "signature"


def test_wrong_md5_means_a_damaged_transfer(get: Operator) -> None:
    get.sign(get.keys.good)
    get.server.site[PATH + ".md5"] = Resource(b"0" * 32)
    with pytest.raises(FailedError, match="the download is damaged"):
        get()
    assert not list(get.cache.glob("tarballs/sha256/*"))


def test_a_second_run_asks_the_server_whether_the_file_has_changed(get: Operator) -> None:
    get.sign(get.keys.good)
    first = get()
    again = get()
    assert (again.path, again.verified_by) == (first.path, "signature")
    assert get.downloads() == 1
    assert get.server.requests(PATH, "HEAD")[-1].status == 304
    get.server.site[PATH] = Resource(b"new", etag='"two"')
    get.server.site[PATH + ".md5"] = Resource(hashlib.md5(b"new").hexdigest().encode())
    get.sign(get.keys.good, b"new")
    assert get().path.read_bytes() == b"new"
    # The older one is used without a download if a target pins it.
    assert get(sha256=SHA256).path == first.path
    assert get.downloads() == 2


def test_a_cached_file_with_the_pinned_digest_needs_no_server(get: Operator) -> None:
    get(sha256=SHA256)
    count = len(get.server.seen)
    assert get(sha256=SHA256).verified_by == "pin"
    assert len(get.server.seen) == count


def test_a_pin_of_one_target_does_not_verify_a_file_for_another(get: Operator) -> None:
    get(sha256=SHA256)
    with pytest.raises(RefusedError):
        get()


def test_a_cached_file_signed_by_another_key_is_checked_again(get: Operator) -> None:
    get.sign(get.keys.good)
    get()
    get.pinned = get.keys.other
    get.server.site[LOOKUP] = Resource(get.keys.ring.public(get.keys.other))
    with pytest.raises(RefusedError, match="by another key than the pinned"):
        get()


def test_a_verified_cached_file_is_used_if_the_server_is_unreachable(get: Operator) -> None:
    get.sign(get.keys.good)
    get()
    get.server.site[PATH].status = 503
    assert get().verified_by == "signature"
    assert "using the copy of" in get.stderr_text


def test_damaged_copy_is_downloaded_again(get: Operator) -> None:
    get.sign(get.keys.good)
    path = get().path
    path.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    assert get().path.read_bytes() == BODY
    assert "damaged; downloading it again" in get.stderr_text
    assert get.downloads() == 2


def test_missing_platform_is_a_clear_error(get: Operator) -> None:
    get.sign(get.keys.good)
    del get.server.site[PATH]
    with pytest.raises(FailedError, match="answers 404"):
        get()


@pytest.fixture
def named(tmp_path: Path) -> Path:
    path = tmp_path / "my.tar.gz"
    path.write_bytes(BODY)
    return path


def test_a_file_that_the_operator_names_is_verified_by_the_operator(
    get: Operator, named: Path
) -> None:
    got = get(rootfs_file=named)
    assert got == Acquired(named, SHA256, "operator", None)
    assert get.server.seen == []


@pytest.mark.parametrize(("data", "good"), [(BODY, True), (BODY + b"!", False)])
def test_signature_beside_a_named_file_is_checked(
    get: Operator, named: Path, data: bytes, good: bool
) -> None:
    get.server.site[LOOKUP] = Resource(get.keys.ring.public(get.keys.good))
    named.with_name("my.tar.gz.sig").write_bytes(get.keys.ring.sign(get.keys.good, data))
    if good:
        assert get(rootfs_file=named).verified_by == "signature"
    else:
        with pytest.raises(RefusedError, match="not what was signed"):
            get(rootfs_file=named, unverified=True)


def test_pin_of_a_named_file_is_checked(get: Operator, named: Path) -> None:
    assert get(rootfs_file=named, sha256=SHA256).verified_by == "pin"
    with pytest.raises(RefusedError, match="not the file that the target pins"):
        get(rootfs_file=named, sha256="0" * 64)


def test_named_file_with_signature_but_no_network(get: Operator, named: Path) -> None:
    named.with_name("my.tar.gz.sig").write_bytes(b"whatever")
    assert get(rootfs_file=named).verified_by == "operator"
    assert "NOT checked" in get.stderr_text


def test_named_file_that_is_missing(get: Operator, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        get(rootfs_file=tmp_path / "none")


def test_gpg_leaves_nothing_behind(
    get: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ring, key = get.keys.ring, get.keys.good
    homes: list[Path] = []
    run: Callable[..., object] = process.run

    def watch(argv: list[str], **options: object) -> object:
        home = Path(argv[argv.index("--homedir") + 1])
        assert home.parent == tmp_path
        assert home.stat().st_mode & 0o777 == 0o700
        homes.append(home)
        return run(argv, **options)

    monkeypatch.setattr("bootwright.rootfs.io.openpgp.run", watch)
    data = tmp_path / "data"
    data.write_bytes(BODY)
    assert openpgp.verify(data, ring.sign(key, BODY), ring.public(key), key).good
    assert homes
    assert not homes[0].exists()
    running = [_command(one) for one in Path("/proc").iterdir() if one.name.isdigit()]
    assert not [one for one in running if os.fsencode(homes[0]) in one]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_keyserver_that_is_no_address() -> None:
    with pytest.raises(InputError, match="write it like hkps://"):
        openpgp.receive_key("0" * 40, "keys")


def test_shipped_description_of_arch_linux_arm() -> None:
    source = load_rootfs_source(checkout() / "rootfs" / "archlinuxarm" / "rootfs.toml")
    assert isinstance(source, Tarball)
    assert source.signing_key == "68B3537F39A313B3E574D06777193F152BDBE6A6"
    assert source.url.endswith("ArchLinuxARM-{platform}-latest.tar.gz")
    given: module.Source = source
    assert (given.signature_suffix, given.digest_suffix) == (".sig", ".md5")
