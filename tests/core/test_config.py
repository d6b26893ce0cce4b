"""Targets as data: errors that name file, key and what is allowed; origins."""

from pathlib import Path

import pytest

from bootwright.core.config import load_config
from bootwright.core.errors import InputError
from tests.support.schemas import check_broken_documents, check_document

BASE = '[targets.bench]\nboard = "odroid-xu3"\nrootfs = "debian"\n'


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "bootwright.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('colour = "red"', ["colour", "unknown key", "allowed here", "timezone"]),
        ('port = "22"', ["port", "integer"]),
        ("port = 0", ["port", "greater than or equal to 1"]),
        ('unlock = "magic"', ["unlock", "'serial' or 'ssh'"]),
        ('cipher = "rot13"', ["cipher", "'auto', 'adiantum' or 'aes-xts'"]),
        ('hostname = "Über"', ["hostname", "'Über'", "63"]),
        ('mac = "00:11"', ["mac", '"auto"', "02:1a"]),
        ('mac = "01:00:5e:00:00:01"', ["mac", "multicast"]),
        ('timezone = "Mars/Olympus"', ["timezone", "Europe/Zurich"]),
        ('locale = "loud"', ["locale", "C.UTF-8"]),
        ('root_size = "4 GB"', ["root_size", "4GiB"]),
        ('docker_data_size = "half"', ["docker_data_size", "not a size"]),
        ('rootfs_sha256 = "abc"', ["rootfs_sha256", "pattern"]),
        ('host = "192.0.2.1:22"', ["host", "leave the port to port ="]),
        ('host = "[fe80::1]:22"', ["host", "leave the port to port ="]),
        ('host = "-oProxyCommand=x"', ["host", "no name and no address"]),
        ('host = "fe80::1%"', ["host", "no name and no address"]),
        ('host = ""', ["host", "no name and no address"]),
        ('user = "Root User"', ["user", "32"]),
        ('authorized_keys = ["what is this"]', ["authorized_keys", "public key"]),
        ('overlays = "one"', ["overlays", "valid array"]),
    ],
)
def test_an_error_names_file_key_and_what_is_allowed(
    tmp_path: Path, line: str, message: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load_config(written(tmp_path, f"{BASE}{line}\n"), "bench")
    for part in ["bootwright.toml", "targets.bench", *message]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "host", ["board_1.lan", "192.0.2.1", "::1", "fe80::1%eth0.5", "2001:DB8::"]
)
def test_names_and_addresses_of_a_board(tmp_path: Path, host: str) -> None:
    config = load_config(written(tmp_path, f'{BASE}host = "{host}"\n'), "bench")
    assert config.target.host == host


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[targets\n", "not TOML"),
        ("colour = 1\n", "colour: unknown key; allowed here: logs, targets"),
        ("targets = 3\n", r"\[targets.NAME\]"),
        ("[targets.bench]\n", "board: missing"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(written(tmp_path, text), "bench")


@pytest.mark.parametrize("name", ["lab/xu4", "a b", "a\\nroot", "-x", ""])
def test_names_with_special_characters_are_refused(tmp_path: Path, name: str) -> None:
    text = BASE.replace("targets.bench", f'targets."{name}"')
    with pytest.raises(InputError, match="not a target's name"):
        load_config(written(tmp_path, text), name.replace("\\n", "\n"))


def test_the_built_in_target_needs_no_file(tmp_path: Path) -> None:
    target = load_config(tmp_path, "odroid").target
    assert (target.board, target.rootfs, target.root_size) == (
        "odroid-xu3",
        "archlinuxarm",
        "4GiB",
    )


def test_an_unknown_target_lists_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x'; there are: bench, odroid"):
        load_config(written(tmp_path, BASE), "x")


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    text = '[targets.odroid]\ntimezone = "Europe/Zurich"\n'
    config = load_config(written(tmp_path, text), "odroid", {"rootfs": "debian", "host": None})
    assert config.origins["timezone"] == "bootwright.toml: targets.odroid"
    assert config.origins["rootfs"] == "command line"
    assert config.origins["board"] == "built-in target"
    assert config.origins["host"] == "default"
    document = check_document("config", config.document())
    assert document["values"]["rootfs"] == {"value": "debian", "origin": "command line"}
    check_broken_documents("config", document, free=("values.docker.value.daemon",))
    assert '"Europe/Zurich"' in next(line for line in config.lines() if line.startswith("timezone"))


def test_the_shipped_example_is_valid_when_uncommented(tmp_path: Path) -> None:
    from bootwright.core import paths

    example = (paths.checkout() / "bootwright.toml").read_text()
    lines = [line.removeprefix("# ") for line in example.splitlines()[4:]]
    text = "\n".join(line for line in lines if line != "#")
    text = text.replace('rootfs_sha256 = "…"', f'rootfs_sha256 = "{"0" * 64}"')
    config = load_config(written(tmp_path, text), "odroid")
    assert config.target.host == "192.0.2.10"
    check_document("config", config.document())
    # Every key of the model is shown in the example.
    assert set(config.target.model_dump()) - {"name"} == {
        key for key, origin in config.origins.items() if origin.startswith("bootwright.toml")
    }
