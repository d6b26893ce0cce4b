"""Making the LUKS2 header of the docker-data volume with cryptsetup.

cryptsetup formats a plain file without root, loop device or device-mapper. It gets the
passphrase on its standard input only.
"""

import os
from pathlib import Path

from bootwright.core.errors import FailedError
from bootwright.core.io.process import run
from bootwright.core.secret import Secret
from bootwright.core.units import MIB
from bootwright.volume.luks2_header import LuksFacts, header_size, read_facts, rename_cipher
from bootwright.volume.luks_plan import LuksSpec

HEADER_BYTES = 16 * MIB
"""cryptsetup's default data offset: both header copies and the key slots end here."""


def make_header(path: Path, spec: LuksSpec, passphrase: Secret, label: str) -> LuksFacts:
    """Write a LUKS2 header for ``spec`` to the new file ``path``, and test that it opens.

    The file is sparse and a little longer than the header, whose length is
    :data:`HEADER_BYTES`.

    Raises:
        FailedError: cryptsetup failed, or what it made is not what was asked for.
    """
    with path.open("xb") as file:
        file.truncate(HEADER_BYTES + MIB)
    run(_format_argv(path, spec, label), stdin=passphrase)
    _rename(path, spec.cipher)
    with path.open("rb") as file:
        facts = read_facts(file.read(MIB))
    wanted = LuksFacts(
        uuid=spec.uuid,
        cipher=spec.cipher,
        sector_size=spec.sector_size,
        payload_offset=HEADER_BYTES,
        key_bytes=spec.key_bits // 8,
        pbkdf="argon2id",
        memory_kib=spec.kdf.memory_kib,
        iterations=spec.kdf.iterations,
        # cryptsetup uses no more threads than this machine has processors.
        threads=min(spec.kdf.threads, os.cpu_count() or 1),
    )
    if facts != wanted:
        raise FailedError(
            f"cryptsetup made a header that differs from the plan: {facts} instead of {wanted}"
        )
    prove_passphrase(path, passphrase)
    return facts


def prove_passphrase(path: Path, passphrase: Secret) -> None:
    """Test that ``passphrase`` opens a key slot of the header in ``path``.

    Raises:
        FailedError: it does not, or the header is damaged.
    """
    argv = ["cryptsetup", "open", "--test-passphrase", "--disable-locks", "--key-file", "-"]
    run([*argv, str(path)], stdin=passphrase)


def _format_argv(path: Path, spec: LuksSpec, label: str) -> list[str]:
    return [
        *("cryptsetup", "luksFormat", "--batch-mode", "--disable-locks", "--type", "luks2"),
        *("--uuid", spec.uuid, "--label", label),
        *("--cipher", spec.format_cipher, "--key-size", str(spec.key_bits)),
        *("--sector-size", str(spec.sector_size)),
        # Only kernels have Adiantum; cryptsetup must be able to open the key slot on any host.
        *("--keyslot-cipher", "aes-xts-plain64", "--keyslot-key-size", "512"),
        *("--pbkdf", "argon2id", "--pbkdf-memory", str(spec.kdf.memory_kib)),
        *("--pbkdf-force-iterations", str(spec.kdf.iterations)),
        *("--pbkdf-parallel", str(spec.kdf.threads)),
        *("--key-file", "-", str(path)),
    ]


def _rename(path: Path, cipher: str) -> None:
    with path.open("r+b") as file:
        both = 2 * header_size(file.read(4096))
        file.seek(0)
        renamed = rename_cipher(file.read(both), cipher)
        file.seek(0)
        file.write(renamed)
