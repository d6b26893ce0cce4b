"""Editing passwd, shadow, group and boot scripts; sizes as text."""

import pytest

from bootwright.card import accounts, boot_script
from bootwright.core import units
from bootwright.core.cli import whole_number
from bootwright.core.errors import FailedError, InputError
from tests.support.accounts import logins_with_password

SHADOW = "root:$y$j9T$abc:1:0:99999:7:::\nalarm:$6$x:1::::::\nguest::1::::::\nsshd:!:1::::::\n"


PASSWD = "root:x:0:0:root:/root:/bin/bash\nbare::7:7::/:/bin/sh\nold:$1$x:8:8::/:/bin/sh\n"


def test_no_password_opens_an_account() -> None:
    assert logins_with_password(SHADOW) == ["root", "alarm", "guest"]
    closed = accounts.without_passwords(accounts.Accounts(PASSWD, SHADOW, ""), "root")
    assert logins_with_password(closed.shadow) == []
    # A password in passwd itself is removed too, and its account gets a line in shadow.
    assert {line.split(":")[1] for line in closed.passwd.splitlines()} == {"x"}
    names = [line.split(":")[0] for line in closed.shadow.splitlines()]
    assert names == ["root", "alarm", "guest", "sshd", "bare", "old"]
    assert "root:*:1:0:99999:7:::" in closed.shadow


@pytest.mark.parametrize(
    "ages", ["0:0:99999:7:::", "16000:0:30:7:::", "16000:0:99999:7::1:", "16000:0:1::1::", "::::::"]
)
@pytest.mark.parametrize("password", ["*", "!", "!!$6$x", "$6$x"])
def test_the_account_that_logs_in_is_neither_locked_nor_of_any_age(
    password: str, ages: str
) -> None:
    shadow = f"root:{password}:{ages}\nalarm:!:16000::::::\n"
    made = accounts.without_passwords(accounts.Accounts(PASSWD, shadow, ""), "root")
    assert made.shadow.splitlines()[:2] == ["root:*:1:0:99999:7:::", "alarm:!:16000::::::"]


@pytest.mark.parametrize("line", ["pilot:x:abc:0::/:/bin/sh", "pilot:x:1", "pilot:x:1:1::/home"])
def test_a_malformed_line_is_an_error_with_the_account_name(line: str) -> None:
    with pytest.raises(InputError, match="pilot"):
        accounts.find_account(accounts.Accounts(f"{line}\n", "", ""), "pilot")


def test_a_line_is_appended_to_files_without_a_final_newline() -> None:
    before = accounts.Accounts("root:x:0:0::/root:/bin/sh", "root:*:1::::::", "root:x:0:")
    after = accounts.with_account(before, "pilot")
    assert [line.split(":")[0] for line in after.shadow.splitlines()] == ["root", "pilot"]
    assert [line.split(":")[0] for line in after.group.splitlines()] == ["root", "pilot"]
    assert accounts.find_account(after, "pilot") is not None


def test_a_new_account_gets_a_free_number() -> None:
    before = accounts.Accounts(
        "root:x:0:0:root:/root:/bin/bash\nx:x:1000:1000::/home/x:/bin/sh\n",
        "root:*:1::::::\n",
        "root:x:0:\ny:x:1001:\n",
    )
    after = accounts.with_account(before, "pilot")
    found = accounts.find_account(after, "pilot")
    assert found == accounts.Account("pilot", 1002, 1002, "/home/pilot", "/bin/bash")
    assert logins_with_password(after.shadow) == []
    assert "pilot:x:1002:" in after.group


MAC = "02:11:22:33:44:55"


@pytest.mark.parametrize(
    "script",
    [
        'ODROIDXU-UBOOT-CONFIG\n\nsetenv macaddr "00:1e:06:61:7a:39"\nboot\n',
        'ODROIDXU-UBOOT-CONFIG\n# setenv macaddr "00:1e:06:61:7a:39"\nboot\n',
        "ODROIDXU-UBOOT-CONFIG\nboot\n",
        'ODROIDXU-UBOOT-CONFIG\nsetenv macaddr "a"\nsetenv macaddr "b"\nboot\n',
        "ODROIDXU-UBOOT-CONFIG",
    ],
)
def test_the_mac_is_set_exactly_once_and_the_magic_word_stays_first(script: str) -> None:
    lines = boot_script.with_mac(script, MAC).splitlines()
    set_lines = [line for line in lines if line.strip().startswith("setenv macaddr")]
    assert set_lines == [f'setenv macaddr "{MAC}"']
    assert lines[0] == "ODROIDXU-UBOOT-CONFIG"
    assert ("boot" in lines) == ("boot" in script.splitlines())


def test_a_boot_ini_that_the_vendors_u_boot_ignores_is_an_error() -> None:
    with pytest.raises(FailedError, match="ODROIDXU-UBOOT-CONFIG"):
        boot_script.check_boot_ini("setenv x\n")
    with pytest.raises(FailedError, match="longer"):
        boot_script.check_boot_ini("ODROIDXU-UBOOT-CONFIG\n" + "#" * 65536)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        ("512 MiB", 512 << 20),
        ("1.5KiB", 1536),
        ("7", 7),
        ("2tib", 2 << 40),
        ("9007199254740993", 2**53 + 1),  # the first that a float cannot tell
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_sizes_are_read_in_iec_units(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "4GB", "4 Gi", "-1", "0.3B", "1e9", "٣GiB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        units.parse_size(text)


@pytest.mark.parametrize(
    "text", ["9" * 400, "9" * 400 + "TiB", "9" * 5000, f"0.{'0' * 400}1", "9999999TiB"]
)
def test_a_far_too_large_size_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError) as caught:
        units.parse_size(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8 << 30, "8.0 GiB")]
)
def test_sizes_are_shown_in_iec_units(size: int, text: str) -> None:
    assert units.format_size(size) == text


@pytest.mark.parametrize("text", ["", "abc", "-1", "0", "65536", "1.5", "٣"])
def test_a_wrong_port_is_an_error_with_the_option_name(text: str) -> None:
    with pytest.raises(InputError, match=r"--ssh-port.*from 1 to 65535"):
        whole_number("--ssh-port", text, 1, 65535)
