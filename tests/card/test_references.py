"""What a target refers to: everything missing is an error before anything is made."""

from typing import Any

import pytest

from bootwright.card.references import check_references
from bootwright.core.config import Target
from bootwright.core.errors import InputError
from bootwright.core.paths import checkout
from bootwright.core.target_names import BUILT_IN


def target(**changes: Any) -> Target:
    return Target(name="odroid", **{**BUILT_IN["odroid"], **changes})


def test_the_built_in_target() -> None:
    board, source, overlays = check_references(checkout(), target())
    assert (board.name, source.name, overlays) == ("odroid-xu3", "archlinuxarm", ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"board": "nosuch"}, "nosuch"),
        ({"rootfs": "nosuch"}, "no root file system 'nosuch'; there are: archlinuxarm, debian"),
        ({"layout": "nosuch"}, "layout: odroid-xu3 has no layout 'nosuch'; there are: "),
        ({"overlays": ("nosuch",)}, "no overlay 'nosuch'"),
        ({"root_size": "9999TiB"}, "root_size"),
        ({"packages": ("tcpdump",)}, "archlinuxarm is used as it is published; install them with"),
        ({"first_boot": "no/such.sh"}, "first_boot: .*no/such.sh: cannot read it"),
    ],
)
def test_a_missing_board_root_file_system_or_layout_is_an_input_error(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_references(checkout(), target(**changes))
