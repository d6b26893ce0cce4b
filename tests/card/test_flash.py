"""`inv flash` as a whole on image files; the result is checked with the real tools."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootwright.card.io.medium import file_data_spans
from bootwright.core.io.process import run
from tests.support.bench import STEPS, WORD, Bench
from tests.support.runlogs import assert_hidden, records
from tests.support.schemas import check_broken_documents, check_document
from tests.support.small_rootfs import ARCH_BLOBS, BOOT_TXT, U_BOOT, small_archlinuxarm

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Any]]:
    """A finished card, for tests that only read it."""
    bench = Bench(tmp_path_factory.mktemp("card"))
    return bench, bench.flash()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_manifest_matches_its_schema(card: tuple[Bench, dict[str, Any]]) -> None:
    bench, document = card
    check_broken_documents("flash", check_document("flash", document))
    assert list(document["seconds"]) == ["rootfs", *STEPS, "total"]
    kept = bench.root / "build" / "cards" / f"{document['partitions'][1]['uuid']}.json"
    assert json.loads(kept.read_text()) == document
    record = check_document("card", json.loads(bench.debugfs("cat /etc/bootwright/card.json")))
    check_broken_documents("card", record)
    assert record["luks_uuid"] == document["partitions"][1]["uuid"]


def test_sfdisk_agrees_with_the_manifest(card: tuple[Bench, dict[str, Any]]) -> None:
    bench, document = card
    table = json.loads(run(["sfdisk", "--json", str(bench.image)]).stdout)["partitiontable"]
    assert table["label"] == document["table"] == "dos"
    assert [(part["start"], part["size"]) for part in table["partitions"]] == [
        (part["start_sector"], part["sectors"]) for part in document["partitions"]
    ]
    assert table["partitions"][0]["bootable"]
    assert document["device"] == {
        "path": str(bench.image),
        "kind": "file",
        "size_bytes": 5 << 30,
        "model": None,
        "serial": None,
    }
    assert document["verified"] is True
    counted = document["bytes"]
    assert counted["mapped"] == counted["written"] == counted["verified"] > 3_000_000


def test_the_root_file_system_is_consistent_and_has_no_features_unknown_to_old_boot_loaders(
    card: tuple[Bench, dict[str, Any]],
) -> None:
    bench, document = card
    root = document["partitions"][0]
    where = f"{bench.image}?offset={root['start_sector'] * 512}"
    run(["e2fsck", "-fn", where])
    header = run(["dumpe2fs", "-h", where]).text
    assert root["uuid"] in header
    features = re.search(r"Filesystem features:(.*)", header)
    assert features is not None
    wrong = {"64bit", "metadata_csum", "metadata_csum_seed", "orphan_file"}
    assert not wrong & set(features[1].split())


def test_the_volume_opens_with_the_passphrase(
    card: tuple[Bench, dict[str, Any]], tmp_path: Path
) -> None:
    bench, document = card
    volume = document["partitions"][1]
    alone = tmp_path / "volume"
    with bench.image.open("rb") as file, alone.open("xb") as out:
        file.seek(volume["start_sector"] * 512)
        out.write(file.read(17 << 20))
    argv = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(alone)]
    run(argv, stdin=WORD.encode())
    metadata = json.loads(run(["cryptsetup", "luksDump", "--dump-json-metadata", str(alone)]).text)
    segment, kdf = metadata["segments"]["0"], metadata["keyslots"]["0"]["kdf"]
    assert volume["luks"] == {
        "uuid": volume["uuid"],
        "cipher": segment["encryption"],
        "sector_size": segment["sector_size"],
        "pbkdf": kdf["type"],
        "memory_kib": kdf["memory"],
        "iterations": kdf["time"],
        "threads": kdf["cpus"],
    }
    assert volume["luks"]["cipher"].startswith("xchacha12,aes-adiantum")


def test_the_blob_is_at_its_sector_and_the_rest_of_the_boot_area_is_zero(
    card: tuple[Bench, dict[str, Any]],
) -> None:
    bench, document = card
    (blob,) = document["boot_blobs"]
    assert (blob["name"], blob["sector"], blob["bytes"]) == ("u-boot", 63, len(U_BOOT))
    assert blob["known"] is False
    area = bench.sectors(0, 8192)
    assert area[63 * 512 :][: len(U_BOOT)] == U_BOOT
    rest = area[512 : 63 * 512] + area[63 * 512 + len(U_BOOT) :]
    assert not any(rest)
    assert document["bootable_on_board"] is False
    assert document["missing_boot_blobs"] == ["bl1", "bl2", "tzsw"]


def test_capabilities_survive_and_the_mac_is_in_the_compiled_boot_script(
    card: tuple[Bench, dict[str, Any]],
) -> None:
    bench, document = card
    assert "01 00 00 02 00 20" in bench.debugfs("ea_get -x /usr/bin-ping security.capability")
    script = bench.debugfs("cat /boot/boot.scr")
    assert f'setenv macaddr "{document["mac"]}"' in script
    # Nothing that would be the same on every card.
    assert (
        "File not found"
        in run(
            ["debugfs", "-R", "stat /etc/ssh/ssh_host_rsa_key", f"{bench.image}?offset=4194304"]
        ).stderr.decode()
    )


def test_two_cards_share_no_identity(card: tuple[Bench, dict[str, Any]]) -> None:
    bench, first = card
    second = bench.flash("--yes")
    for path in (
        ("mac",),
        ("ssh_host_keys",),
        ("partitions", 0, "uuid"),
        ("partitions", 1, "uuid"),
    ):
        one: Any = first
        two: Any = second
        for step in path:
            one, two = one[step], two[step]
        assert one != two
    assert second["rootfs"] == first["rootfs"]


def test_an_existing_image_is_not_overwritten_without_confirmation(bench: Bench) -> None:
    bench.image.write_bytes(b"precious" * 1000)
    with bench.image.open("r+b") as file:
        file.truncate(5 << 30)
    done = bench.inv()
    assert done.returncode == 3
    assert "--yes" in done.stderr
    assert bench.sectors(0, 1).startswith(b"precious")


def test_a_dry_run_changes_nothing(bench: Bench) -> None:
    done = bench.inv("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed" in done.stdout
    assert not bench.image.exists()
    assert not (bench.root / "cache" / "ext4").exists()
    check_document("flash-plan", bench.flash("--dry-run"))
    bench.flash()
    before = bench.sectors(0, 8192)
    document = bench.flash("--dry-run")
    check_broken_documents("flash-plan", check_document("flash-plan", document))
    # The size is checked in the step that opens the card.
    assert len(document["steps"]) == len(STEPS) - 1
    assert document["steps"][-1].startswith("9. write the DOS partition table")
    assert bench.sectors(0, 8192) == before


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda b: b.passphrase.chmod(0o644), 2, "chmod 600"),
        (lambda b: b.passphrase.write_text("tab\tinside\n"), 2, "control character"),
        (lambda b: b.key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n"), 2, "private key"),
        (lambda b: b.tarball.write_bytes(b"\x1f\x8b not gzip"), 2, "rootfs.tar"),
        (lambda b: b.tarball.unlink(), 2, "no such file"),
    ],
)
def test_wrong_input_is_an_error_and_nothing_is_made(
    bench: Bench, change: Any, code: int, message: str
) -> None:
    change(bench)
    done = bench.inv()
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not bench.image.exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"target": "nope"}, 2, "no target 'nope'; there are: odroid"),
        ({"rootfs": "gentoo"}, 2, "archlinuxarm, debian"),
        ({"size": "1GB"}, 2, "not a size"),
        ({"size": "1GiB"}, 3, "are needed"),
        ({"blobs": "/nonexistent"}, 2, "no such folder"),
        ({"rootfs-file": "/nonexistent"}, 2, "no such file"),
        ({"device": "/nonexistent/card.img"}, 2, "directory does not exist"),
        ({"device": ""}, 2, "--device"),
    ],
)
def test_wrong_options_end_with_the_right_exit_code(
    bench: Bench, options: dict[str, str], code: int, message: str
) -> None:
    done = bench.inv(**options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr


def test_a_tarball_that_changes_after_it_was_verified_is_refused(bench: Bench) -> None:
    """The digest that was verified must be that of the bytes that are used."""
    with bench.tarball.open("rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    bench.own_checkout(
        f"""
        [targets.lab]
        board = "odroid-xu3"
        rootfs = "archlinuxarm"
        rootfs_sha256 = "{digest}"
        """
    )
    small_archlinuxarm(bench.root / "other.tar")
    code = _SWAPPED.format(other=str(bench.root / "other.tar"), own=str(bench.tarball))
    argv = bench.argv("--json", target="lab", rootfs="archlinuxarm")
    done = subprocess.run(
        [sys.executable, "-c", code, *argv[1:]],
        cwd=bench.checkout,
        env=bench.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert "changed while it was read" in done.stderr
    assert list((bench.root / "cache" / "ext4").glob("*.ext4")) == []
    assert not bench.image.exists()


_SWAPPED = """
import os
import bootwright.rootfs.io.base_image as base_image
build = base_image.build_ext4
def late(tarball, *args, **kwargs):
    os.replace({other!r}, {own!r})
    return build(tarball, *args, **kwargs)
base_image.build_ext4 = late
from invoke.main import program
program.run()
"""


@pytest.mark.parametrize("kind", ["a byte", "shorter", "superblock"])
def test_a_damaged_image_in_the_cache_is_built_again(bench: Bench, kind: str) -> None:
    first = bench.flash()
    (image,) = (bench.root / "cache" / "ext4").glob("*.ext4")
    found = run(["debugfs", "-R", "blocks /vmlinuz", str(image)]).text.split()[0]
    with image.open("r+b") as file:
        if kind == "a byte":
            file.seek(int(found) * 4096 + 100)
            file.write(b"damaged")
        elif kind == "shorter":
            file.truncate(100 << 20)
        else:  # The superblock: nothing in the image can be read.
            file.seek(1024)
            file.write(bytes(1024))
    bench.image.unlink()
    done = bench.inv("--json")
    assert done.returncode == 0, done.stderr
    assert "it was damaged after it was built; it is built again" in done.stderr
    assert json.loads(done.stdout)["rootfs"] == first["rootfs"]
    assert "damaged" not in bench.debugfs("cat /vmlinuz")
    again = bench.inv("--yes")
    assert again.returncode == 0, again.stderr
    assert "built again" not in again.stderr


def test_a_damaged_record_in_the_cache_is_written_again(bench: Bench) -> None:
    bench.flash()
    for record in (bench.root / "cache" / "ext4").glob("*.json"):
        record.write_text("")
    assert bench.flash("--yes")["verified"] is True


def test_records_that_cannot_be_written_are_an_error_before_the_long_work(bench: Bench) -> None:
    (bench.root / "build").write_text("a file in the way")
    done = bench.inv()
    assert done.returncode == 4
    assert "BOOTWRIGHT_BUILD" in done.stderr
    assert not bench.image.exists()


def test_blobs_of_the_operator_make_the_card_bootable_and_unknown_ones_give_a_warning(
    bench: Bench,
) -> None:
    folder = bench.root / "blobs"
    folder.mkdir()
    # 15616 bytes run half a sector into BL2's place, which BL2 covers.
    contents = {"bl1.bin": b"\1" * 15616, "bl2.bin": b"\2" * 14592, "tzsw.bin": b"\3" * 262144}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    done = bench.inv("--json", "--blobs", str(folder))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["bootable_on_board"] is True
    assert [blob["name"] for blob in document["boot_blobs"]] == ["bl1", "bl2", "u-boot", "tzsw"]
    assert bench.sectors(1, 30) == b"\1" * 15360
    assert bench.sectors(31, 29)[:14592] == b"\2" * 14592
    assert bench.sectors(2111, 512) == b"\3" * 262144
    assert "bl1" in done.stderr
    assert "is not recorded for this board" in done.stderr
    (folder / "bl1.bin").write_bytes(bytes(15617))
    assert bench.inv("--yes", "--blobs", str(folder)).returncode == 2


def test_an_arch_linux_arm_tarball_contains_all_that_the_board_needs(bench: Bench) -> None:
    small_archlinuxarm(bench.tarball)
    done = bench.inv("--json", rootfs="archlinuxarm")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["bootable_on_board"] is True
    assert document["rootfs"]["kind"] == "archlinuxarm"
    places = {"bl1": 1, "bl2": 31, "u-boot": 63, "tzsw": 2111}
    assert {blob["name"]: blob["sector"] for blob in document["boot_blobs"]} == places
    for name, sector in places.items():
        content = ARCH_BLOBS[f"boot/{name}.bin"]
        assert bench.sectors(sector, -(-len(content) // 512))[: len(content)] == content
    boot_txt = bench.debugfs("cat /boot/boot.txt")
    own = f'setenv macaddr "{document["mac"]}"'
    assert boot_txt == BOOT_TXT.decode().replace('# setenv macaddr "00:1e:ee:61:7a:39"', own)
    # boot.scr: a header of 64 bytes, two lengths, then the text (U-Boot, doc/uImage).
    assert boot_txt in bench.debugfs("cat /boot/boot.scr")
    shadow = bench.debugfs("cat /etc/shadow")
    assert [line.split(":")[1] for line in shadow.splitlines()] == ["*", "*"]


def test_another_board_and_target_need_no_change_of_the_program(bench: Bench) -> None:
    bench.own_checkout(
        """
        [targets.lab]
        board = "odroid-xu4"
        rootfs = "debian"
        mac = "02:00:00:00:00:07"
        root_size = "64MiB"
        docker_data_size = "100MiB"
        overlays = ["lab"]
        first_boot = "rootfs/hello.sh"
        network.address = ["192.0.2.10/24"]
        """
    )
    (bench.checkout / "rootfs" / "hello.sh").write_text("#!/bin/sh\necho hello\n")
    file = bench.checkout / "rootfs" / "overlays" / "lab" / "etc" / "lab.conf"
    file.parent.mkdir(parents=True)
    file.write_text("here\n")
    folder = bench.root / "blobs"
    folder.mkdir()
    places = {"bl1": 1, "bl2": 31, "u-boot": 63, "tzsw": 1503}
    for name in places:
        (folder / f"{name}.bin").write_bytes(name.encode() * 1000)
    document = bench.flash("--blobs", str(folder), target="lab", size="256MiB")
    assert {blob["name"]: blob["sector"] for blob in document["boot_blobs"]} == places
    assert document["bootable_on_board"] is True
    assert [part["sectors"] for part in document["partitions"]] == [64 * 2048, 100 * 2048]
    assert not any(bench.sectors(2015, 32))  # U-Boot's environment
    script = bench.debugfs("cat /boot/boot.ini")
    assert script.startswith("ODROIDXU-UBOOT-CONFIG\n")
    assert "macaddr" not in script
    link = bench.debugfs("cat /etc/systemd/network/10-bootwright.link")
    assert {"Driver=r8152", "MACAddress=02:00:00:00:00:07"} <= set(link.split())
    partition = f"{bench.image}?offset={8192 * 512}"
    packed = run(["debugfs", "-R", "cat /boot/uInitrd", partition]).stdout
    initrd = run(["debugfs", "-R", "cat /initrd.img", partition]).stdout
    assert packed[64:] == initrd
    assert packed[12:16] == len(initrd).to_bytes(4, "big")
    assert "ext4load mmc 0:1 0x42000000 /boot/uInitrd\n" in script
    assert bench.debugfs("cat /etc/lab.conf") == "here\n"
    network = bench.debugfs("cat /etc/systemd/network/10-bootwright.network")
    assert network.endswith("[Network]\nAddress=192.0.2.10/24\n")
    assert bench.debugfs("cat /usr/local/lib/bootwright/first-boot").endswith("echo hello\n")
    assert " 0755 " in bench.debugfs("stat /usr/local/lib/bootwright/first-boot")


def test_an_operator_without_an_ssh_key_gets_one_and_a_warning(bench: Bench) -> None:
    bench.env["HOME"] = str(bench.root)
    bench.passphrase.write_text("odroid2026\n")
    done = bench.inv("--json", without=("authorized-key",))
    assert done.returncode == 0, done.stderr
    assert "this passphrase is easy to guess" in done.stderr
    assert "no usable SSH key in ~/.ssh" in done.stderr
    private = bench.root / "build" / "ssh" / "id_ed25519"
    assert private.stat().st_mode & 0o777 == 0o600
    public = private.with_suffix(".pub").read_text()
    assert bench.debugfs("cat /root/.ssh/authorized_keys") == public
    assert run(["ssh-keygen", "-y", "-f", str(private)]).text.split()[:2] == public.split()[:2]
    # The second card authorises the same key.
    bench.flash("--yes", without=("authorized-key",))
    assert bench.debugfs("cat /root/.ssh/authorized_keys") == public


@pytest.mark.parametrize("words", [("--devcie=x",), ("what",)])
def test_an_unknown_option_is_wrong_input(bench: Bench, words: tuple[str, ...]) -> None:
    done = bench.inv(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_the_dry_run_option_of_invoke_is_refused(bench: Bench) -> None:
    done = bench.inv("--dry")
    assert done.returncode == 2
    assert "--dry-run" in done.stderr
    assert not bench.image.exists()


def test_the_passphrase_is_in_no_file_argument_or_environment(bench: Bench, tmp_path: Path) -> None:
    """Every tool is called through a script that records its arguments and environment."""
    witness = tmp_path / "witness"
    witness.mkdir()
    log = tmp_path / "seen"
    tools = ("cryptsetup", "debugfs", "mke2fs", "e2fsck", "dumpe2fs", "sfdisk", "mkimage", "lsblk")
    for tool in tools:
        real = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        script = witness / tool
        script.write_text(f'#!/bin/sh\n(echo "$0" "$@"; env) >> {log}\nexec {real} "$@"\n')
        script.chmod(0o755)
    bench.env["PATH"] = f"{witness}:{bench.env['PATH']}"
    done = bench.inv("--json")
    assert done.returncode == 0, done.stderr
    seen = log.read_text()
    assert "luksFormat" in seen  # the witness works
    assert WORD not in seen
    assert WORD not in done.stdout + done.stderr
    found = {path for path in bench.root.rglob("*") if path.is_file() and holds(path, WORD)}
    assert found == {bench.passphrase}
    # Nor the hashes of the passwords that are in the tarball.
    assert_hidden(bench.root / "build", WORD, "$y$j9T$secret")
    formats = [one for one in records(bench.root / "build") if "luksFormat" in one.get("argv", ())]
    assert [one["stdin"] for one in formats] == ["***"]


def holds(path: Path, word: str) -> bool:
    """Return whether a file, which may be sparse, contains the word."""
    with path.open("rb") as file:
        for span in file_data_spans(path):
            file.seek(span.start)
            if word.encode() in file.read(span.end - span.start):
                return True
    return False
