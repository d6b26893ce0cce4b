"""The LUKS header, made and checked by the real cryptsetup."""

import json
import uuid
from pathlib import Path

import pytest

from bootwright.core.board import Kdf
from bootwright.core.errors import FailedError
from bootwright.core.io.process import run
from bootwright.core.secret import Secret
from bootwright.volume.io.luks import HEADER_BYTES, make_header, prove_passphrase
from bootwright.volume.luks2_header import header_size, read_facts, rename_cipher
from bootwright.volume.luks_plan import ADIANTUM, AES_XTS, LuksSpec

pytestmark = pytest.mark.integration

# Small, so that the tests are quick; the form is what counts.
KDF = Kdf(memory_kib=1024, iterations=4, threads=1)
PASSPHRASE = Secret("Größe: $(reboot) 'x'".encode())


def spec(cipher: str) -> LuksSpec:
    return LuksSpec(str(uuid.uuid4()), cipher, 256 if cipher == ADIANTUM else 512, KDF, ())


@pytest.fixture(params=[ADIANTUM, AES_XTS])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, LuksSpec]:
    wanted = spec(request.param)
    path = tmp_path / "volume"
    make_header(path, wanted, PASSPHRASE, "docker-data")
    return path, wanted


def test_cryptsetup_shows_what_the_board_was_promised(volume: tuple[Path, LuksSpec]) -> None:
    path, wanted = volume
    dump = json.loads(run(["cryptsetup", "luksDump", "--dump-json-metadata", str(path)]).stdout)
    segment = dump["segments"]["0"]
    assert segment["encryption"] == wanted.cipher
    assert segment["sector_size"] == 4096
    assert int(segment["offset"]) == HEADER_BYTES
    kdf = dump["keyslots"]["0"]["kdf"]
    assert (kdf["type"], kdf["memory"], kdf["time"], kdf["cpus"]) == ("argon2id", 1024, 4, 1)
    assert dump["keyslots"]["0"]["key_size"] * 8 == wanted.key_bits
    text = run(["cryptsetup", "luksDump", str(path)]).text
    assert wanted.uuid in text
    assert "docker-data" in text


def test_only_the_passphrase_opens_it(volume: tuple[Path, LuksSpec]) -> None:
    path, _ = volume
    prove_passphrase(path, PASSPHRASE)
    with pytest.raises(FailedError) as caught:
        prove_passphrase(path, Secret(b"another"))
    assert "another" not in str(caught.value)


@pytest.mark.parametrize("copy", [0, 1])
def test_a_damaged_copy_is_never_accepted(volume: tuple[Path, LuksSpec], copy: int) -> None:
    path, _ = volume
    header = bytearray(path.read_bytes()[:65536])
    at = copy * header_size(bytes(header)) + 5000
    header[at] ^= 1
    with pytest.raises(FailedError, match="damaged"):
        read_facts(bytes(header))
    with pytest.raises(FailedError, match="damaged"):
        rename_cipher(bytes(header), ADIANTUM)


def test_a_header_cut_short_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="no LUKS2 header"):
        read_facts(bytes(65536))
