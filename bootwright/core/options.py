"""The values that options of a task take: files, targets, or one of a few words.

The parameters of the functions in ``tasks.py`` are annotated with these types. The parser checks
values by the annotation, the help prints a placeholder for it, and the completion offers values.
"""

import difflib
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin

from bootwright.core.errors import InputError

ValueKind = Literal[
    "text",
    "word",
    "file",
    "folder",
    "task",
    "target",
    "configured-target",
    "group",
    "board",
    "rootfs",
    "benchmark",
    "save",
]


@dataclass(frozen=True)
class OptionValue:
    """The value that an option takes.

    Attributes:
        kind: ``word`` is one of ``words``; ``text`` is anything; ``board``, ``rootfs`` and
            ``benchmark`` are names of files in the checkout, ``save`` is that of a saved emulator,
            ``task`` is one of the program's own tasks. ``target`` may be the running emulator,
            ``configured-target`` may not.
        words: the words that are allowed; empty for the other kinds.
    """

    kind: ValueKind = "text"
    words: tuple[str, ...] = ()

    @property
    def placeholder(self) -> str:
        """The value's name in a help text, such as FILE."""
        special = {"text": "VALUE", "configured-target": "TARGET"}
        return special.get(self.kind, self.kind.upper())


File = Annotated[str, OptionValue("file")]
Files = Annotated[list[str] | None, OptionValue("file")]
Folder = Annotated[str, OptionValue("folder")]
TargetName = Annotated[str, OptionValue("target")]
ConfiguredTargetName = Annotated[str, OptionValue("configured-target")]
TargetNames = Annotated[list[str] | None, OptionValue("target")]
GroupName = Annotated[str, OptionValue("group")]
BoardName = Annotated[str, OptionValue("board")]
RootfsName = Annotated[str, OptionValue("rootfs")]
SaveName = Annotated[str, OptionValue("save")]
BenchmarkVersion = Annotated[str, OptionValue("benchmark")]


def option_value_of(annotation: object) -> OptionValue:
    """Return the value of a parameter with this annotation; a ``Literal`` gives the words."""
    if get_origin(annotation) is Annotated:
        found = [extra for extra in get_args(annotation) if isinstance(extra, OptionValue)]
        return found[0] if found else OptionValue()
    if get_origin(annotation) is Literal:
        return OptionValue("word", get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [option_value_of(one) for one in get_args(annotation)]
        return next((one for one in kinds if one != OptionValue()), OptionValue())
    return OptionValue()


def check_word(option: str, word: str, allowed: Iterable[str]) -> None:
    """Check that an option's word is one of the allowed words.

    Raises:
        InputError: it is not; the message lists the allowed words and similar ones.
    """
    known = list(allowed)
    if word not in known:
        raise InputError(
            f"{option}: {word!r} is none of {', '.join(known)}{did_you_mean(word, known)}"
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message with the known words similar to ``word``; empty without any."""
    near = similar(word, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def similar(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words similar to ``word``, at most three, the most similar first."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=0.7)
