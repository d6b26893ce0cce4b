"""What the options of a task take: files, targets, or one of a few words.

The parameters of the functions in ``tasks.py`` are annotated with these types. From the annotation
the parser knows which words are allowed, the help what to print, the completion what to offer.
"""

import difflib
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin

from bootwright.core.errors import InputError

Kind = Literal["text", "word", "file", "folder", "target", "group", "rootfs", "benchmark", "save"]


@dataclass(frozen=True)
class Takes:
    """What an option takes.

    Attributes:
        kind: ``word`` is one of ``words``; ``text`` is anything; ``rootfs`` and ``benchmark`` are
            names of files in the checkout, ``save`` is that of a saved emulator.
        words: the words that are allowed; empty for the other kinds.
    """

    kind: Kind = "text"
    words: tuple[str, ...] = ()

    @property
    def placeholder(self) -> str:
        """What stands for the value in a help text, such as FILE."""
        return "VALUE" if self.kind == "text" else self.kind.upper()


File = Annotated[str, Takes("file")]
Files = Annotated[list[str] | None, Takes("file")]
Folder = Annotated[str, Takes("folder")]
TargetName = Annotated[str, Takes("target")]
TargetNames = Annotated[list[str] | None, Takes("target")]
GroupName = Annotated[str, Takes("group")]
RootfsName = Annotated[str, Takes("rootfs")]
SaveName = Annotated[str, Takes("save")]
BenchmarkVersion = Annotated[str, Takes("benchmark")]


def takes_of(annotation: object) -> Takes:
    """Return what a parameter with this annotation takes; its words if it is a ``Literal``."""
    if get_origin(annotation) is Annotated:
        found = [extra for extra in get_args(annotation) if isinstance(extra, Takes)]
        return found[0] if found else Takes()
    if get_origin(annotation) is Literal:
        return Takes("word", get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [takes_of(one) for one in get_args(annotation)]
        return next((one for one in kinds if one != Takes()), Takes())
    return Takes()


def check_word(option: str, word: str, allowed: Iterable[str]) -> None:
    """Pass when an option's word is one of those that are allowed.

    Raises:
        InputError: it is none; names them, or those that are near.
    """
    known = list(allowed)
    if word not in known:
        raise InputError(
            f"{option}: {word!r} is none of {', '.join(known)}{did_you_mean(word, known)}"
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message: what is spelt nearly as ``word``; empty if nothing is."""
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(near)}?" if near else ""
