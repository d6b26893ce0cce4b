"""What a shell offers when an operator presses Tab.

The scripts in ``scripts/completion`` call ``inv --complete -- WORD …`` with the words up to the
cursor; the last one is still being typed. The answer has a line for each word to offer: the word, a
tab, and its description. The line ``:file`` or ``:folder`` makes the shell offer files or folders.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext

from bootwright.core.command_line import Parser, Reading, flag_of
from bootwright.core.errors import InputError
from bootwright.core.options import ValueKind

Names = Callable[[ValueKind], Sequence[str]]
"""Returns the names of a kind, such as all targets."""


def reading_of(parser: Parser, words: Sequence[str]) -> Reading:
    """Return an unfinished command line after reading its words; wrong words are skipped."""
    reading = Reading(parser)
    for word in words:
        with contextlib.suppress(InputError):
            reading.take(word)
    return reading


def completion_lines(
    parser: Parser, words: Sequence[str], names: Names, tasks: dict[str, str]
) -> list[str]:
    """Return the words that the shell offers, one line each.

    Args:
        parser: knows the tasks and their options.
        words: the words of the command line, without the program's name; the last one, which may be
            empty, is to be completed.
        names: returns the names of a kind.
        tasks: the description of each task, by name.
    """
    *before, current = words or [""]
    reading = reading_of(parser, before)
    offered = _offered(reading, current, names, tasks)
    return [
        f"{word}\t{text}" if text else word
        for word, text in offered
        if word.startswith(current) or word.startswith(":")
    ]


def _offered(
    reading: Reading, current: str, names: Names, tasks: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if reading.awaiting is not None:
        yield from _values(reading, reading.awaiting, names, tasks)
        return
    if current.startswith("-") and not reading.only_words:
        flag, has_value, _ = current.partition("=")
        option, _inverse = reading.flag(flag)
        if has_value and option is not None:
            for word, text in _values(reading, option, names, tasks):
                yield (word if word.startswith(":") else f"{flag}={word}"), text
        elif not has_value:
            yield from _flags(reading)
        return
    positional = reading.next_positional()
    if positional is not None:
        yield from _values(reading, positional, names, tasks)
    elif reading.context is reading.core:
        yield from tasks.items()
    else:
        yield from _flags(reading)


def _values(
    reading: Reading, option: Argument, names: Names, tasks: dict[str, str]
) -> Iterator[tuple[str, str]]:
    value = reading.option_value(option)
    if option is reading.core.flags["--help"]:
        yield from tasks.items()
    elif value.kind in ("file", "folder"):
        yield f":{value.kind}", ""
    elif value.kind == "word":
        yield from ((word, "") for word in value.words)
    else:
        given = option.value if option.kind is list else ()
        yield from ((name, "") for name in names(value.kind) if name not in given)


def _flags(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield the options that can still be given: the task's, then the core options."""
    contexts: list[ParserContext] = [reading.context]
    if reading.context is not reading.core:
        contexts.append(reading.core)
    for context in contexts:
        for argument in sorted(context.args.values(), key=flag_of):
            if not reading.is_done(argument) and argument.help:
                flag = flag_of(argument)
                yield (f"--no-{flag[2:]}" if argument.default is True else flag), argument.help
