"""Several targets for one task, ``inv provision a b``: Invoke's positionals take one word each."""

from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any

from invoke.program import Program

OPTION = "--target"
"""What each such word becomes; the task's parameter ``target`` is iterable."""


def take_many_targets(tasks: Set[str], program: type[Program] = Program) -> None:
    """Have Invoke take every bare word after one of ``tasks`` as a target of it.

    A word that is another task's name begins that task, as it always does. ``tasks.py`` calls this
    as it is loaded, which is before Invoke looks at the tasks' options.
    """
    parse = program.parse_tasks

    def parse_tasks(self: Program) -> None:
        # Only one parser is ever made: with the first, Invoke takes the help texts off the tasks.
        parser = self._make_parser()
        self._make_parser = lambda: parser  # type: ignore[method-assign]
        self.core.unparsed = spread(
            self.core.unparsed, parser.contexts, tasks, self.initial_context.flags
        )
        parse(self)

    program.parse_tasks = parse_tasks  # type: ignore[method-assign]


def spread(
    words: Sequence[str],
    contexts: Mapping[str, Any],
    tasks: Set[str],
    core: Mapping[str, Any] = MappingProxyType({}),
) -> list[str]:
    """Return a command line with each bare word after one of ``tasks`` as an option's value.

    Args:
        words: the tasks and their options.
        contexts: Invoke's, by task: ``flags`` by name, which know whether they take a value, and
            ``positional_args``.
        tasks: those that take many targets.
        core: Invoke's own flags, which may come after a task as well.
    """
    spread_words: list[str] = []
    task, awaits_value, positional = "", False, 0
    for word in words:
        if awaits_value:
            awaits_value = False
        elif word.startswith("-"):
            name, given, _ = word.partition("=")
            flag = _flag(name, contexts[task].flags if task else {}, core)
            if flag is not None and flag.takes_value and not flag.optional:
                awaits_value = not given
                positional -= flag.positional
        elif positional:
            positional -= 1
        elif word in contexts:
            task, positional = word, len(contexts[word].positional_args)
        elif task in tasks:
            word = f"{OPTION}={word}"
        spread_words.append(word)
    return spread_words


def _flag(word: str, *flags: Mapping[str, Any]) -> Any:
    # Not by get(), which does not know Invoke's second names, such as -T.
    return next((known[word] for known in flags if word in known), None)
