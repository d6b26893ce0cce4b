"""How much of the disk a board's logs may use."""

from bootwright.logs.quota import Disk, excess_of_board, excess_of_disk, stopped_senders

GIB = 1 << 30


def test_the_reserve_is_a_part_of_the_disk_and_at_most_1_gib() -> None:
    assert Disk(10 * GIB, 0).reserve == GIB // 2
    assert Disk(1000 * GIB, 0).reserve == GIB
    assert Disk(1000 * GIB, 2 * GIB - 1).scarce
    assert not Disk(1000 * GIB, 2 * GIB).scarce


def test_a_board_may_use_its_quota_to_the_last_byte() -> None:
    assert excess_of_board(90, 10, 100, "a") is None
    excess = excess_of_board(90, 11, 100, "a")
    assert excess is not None
    assert (excess.boards, excess.bytes) == (("a",), 1)


def test_a_nearly_full_disk_stops_the_board_that_uses_most_and_no_other() -> None:
    used = {"hog": 80 * GIB, "small": GIB}
    disk = Disk(100 * GIB, 2 * GIB)
    assert excess_of_disk(used, 0, disk, "hog") is None
    excess = excess_of_disk(used, 1, disk, "hog")
    assert excess is not None
    assert (excess.boards, excess.bytes) == (("hog",), 1)
    # Until only the reserve is left, others go on; then the days of the first are removed.
    assert excess_of_disk(used, GIB, disk, "small") is None
    excess = excess_of_disk(used, GIB + 7, disk, "small")
    assert excess is not None
    assert (excess.boards, excess.bytes) == (("hog",), 7)


def test_a_board_without_logs_may_write_too() -> None:
    used = {"hog": 80 * GIB, "new": 0}
    assert excess_of_disk(used, 100, Disk(100 * GIB, 2 * GIB), "new") is None


def test_days_of_boards_within_their_share_are_never_removed_for_another() -> None:
    used = {"a": 50 * GIB, "b": 40 * GIB, "c": 3 * GIB, "d": 0}
    excess = excess_of_disk(used, 5, Disk(100 * GIB, GIB), "d")
    assert excess is not None
    assert excess.boards == ("a", "b")


def test_no_more_has_to_be_removed_than_is_written() -> None:
    # Another program has filled the disk.
    full = Disk(100 * GIB, 0)
    for used, board in (({"a": 9 * GIB}, "a"), ({"a": 9 * GIB, "b": 0}, "b")):
        excess = excess_of_disk(used, 5, full, board)
        assert excess is not None
        assert (excess.boards, excess.bytes) == (("a",), 5)


def test_a_sender_that_cannot_be_asked_is_stopped_when_a_limit_is_passed() -> None:
    used = {"router": 901, "odroid": 500, "lab": 900}
    assert list(stopped_senders(used, 900, Disk(10_000, 5000))) == ["router"]
    # Only the reserve is left.
    assert list(stopped_senders(used, 2000, Disk(10_000, 499))) == ["router", "lab"]
    assert stopped_senders(used, 2000, Disk(10_000, 500)) == {}
    assert stopped_senders({}, 900, Disk(10_000, 0)) == {}
