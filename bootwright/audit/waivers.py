"""``waivers.toml``: checks that are not met on purpose, each with a reason and a last day."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

from bootwright.audit.model import Waiver
from bootwright.core.errors import InputError
from bootwright.core.toml_model import StrictModel, load_table

WAIVERS_NAME = "waivers.toml"

_WITH_ITEMS = ("4", "5")
"""The sections of the checks that look at each image or container."""


class Waivers(StrictModel):
    """The content of the file."""

    waiver: tuple[Waiver, ...] = ()


def load_waivers(path: Path, known: Iterable[str]) -> tuple[Waiver, ...]:
    """Return the waivers of a file.

    Args:
        path: the file.
        known: the ids of all checks.

    Raises:
        InputError: the file cannot be read, or a waiver is for an unknown check, or is there twice.
    """
    waivers = load_table(Waivers, path).waiver
    ids = set(known)
    seen: set[tuple[str, ...]] = set()
    for waiver in waivers:
        if waiver.check not in ids:
            raise InputError(
                f"{path}: waiver for {waiver.check}: there is no such check; the ids are those of"
                " docker-bench-security 1.6.0"
            )
        scope = [f"container {name}" for name in waiver.containers]
        scope += [f"image {name}" for name in waiver.images]
        if scope and waiver.check.partition(".")[0] not in _WITH_ITEMS:
            raise InputError(
                f"{path}: waiver for {waiver.check}: it is not about single containers or images;"
                " leave out containers and images"
            )
        for key in product((waiver.check,), waiver.targets or ("",), scope or ("",)):
            if key in seen:
                what = " for ".join(filter(None, (waiver.check, key[2])))
                raise InputError(f"{path}: {what} is waived twice; keep one of them")
            seen.add(key)
    return waivers


def waiver_of(
    waivers: Sequence[Waiver], check: str, target: str, warned: Mapping[str, str | None]
) -> Waiver | None:
    """Return the waiver for a check of a target; of several, the one that expires last.

    A waiver without targets is for all of them. It is in force to the end of its last day. Waivers
    for single containers or images are one for the check if all that it warns of has one; it
    expires with the first of them.

    Args:
        waivers: for any target.
        check: the check's id.
        target: the board's name.
        warned: the containers and images that the check warns of, each container with its image.
    """
    fitting = [
        waiver
        for waiver in waivers
        if waiver.check == check and (not waiver.targets or target in waiver.targets)
    ]
    whole = _last(waiver for waiver in fitting if not (waiver.containers or waiver.images))
    each = [
        _last(waiver for waiver in fitting if _covers(waiver, name, image))
        for name, image in warned.items()
    ]
    found = list(dict.fromkeys(waiver for waiver in each if waiver is not None))
    if not found or None in each:
        return whole
    together = found[0]
    if len(found) > 1:
        together = Waiver(
            check=check,
            reason=" ".join(dict.fromkeys(waiver.reason for waiver in found)),
            expires=min(waiver.expires for waiver in found),
        )
    return _last(waiver for waiver in (whole, together) if waiver is not None)


def _last(waivers: Iterable[Waiver]) -> Waiver | None:
    return max(waivers, key=lambda waiver: waiver.expires, default=None)


def _covers(waiver: Waiver, name: str, image: str | None) -> bool:
    if not (waiver.containers or waiver.images):
        return True
    if any(fnmatchcase(name, pattern) for pattern in waiver.containers if image is not None):
        return True
    return any(fnmatchcase(name if image is None else image, one) for one in waiver.images)
