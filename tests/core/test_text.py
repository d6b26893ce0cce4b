"""Texts on a narrow terminal: tables and long lines."""

from bootwright.core.text import table, wrap_line

HEAD = ("TARGET", "BOARD", "ROOTFS", "HOST")
ROWS = [("lab", "odroid-xu4", "debian", "192.0.2.7"), ("odroid", "xu3", "archlinuxarm", "-")]


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    aligned = [
        "TARGET  BOARD       ROOTFS        HOST",
        "lab     odroid-xu4  debian        192.0.2.7",
        "odroid  xu3         archlinuxarm  -",
    ]
    assert table(HEAD, ROWS) == table(HEAD, ROWS, 43) == aligned


def test_columns_that_do_not_fit_follow_below_each_other() -> None:
    assert table(HEAD, ROWS, 25) == [
        "TARGET  BOARD",
        "  ROOTFS        HOST",
        "lab     odroid-xu4",
        "  debian        192.0.2.7",
        "odroid  xu3",
        "  archlinuxarm  -",
    ]
    # Nothing is shorter than its longest word.
    assert max(map(len, table(HEAD, ROWS, 5))) == len("  archlinuxarm")


def test_a_long_line_is_broken_between_words() -> None:
    assert wrap_line("short", 10) == ["short"]
    assert wrap_line("  error: the key is wrong", 15) == ["  error: the", "    key is", "    wrong"]
    assert wrap_line("state   open and in use", 18) == ["state   open and", "        in use"]
    # A path is not broken, however long it is.
    assert wrap_line("ok  /a/very-long/path of it", 12) == [
        "ok",
        "    /a/very-long/path",
        "    of it",
    ]
