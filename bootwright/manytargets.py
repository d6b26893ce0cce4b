"""Several targets for one task, ``inv provision a b``: Invoke's positionals take one word each."""

from collections.abc import Mapping, Sequence, Set
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
        self.core.unparsed = spread(self.core.unparsed, parser.contexts, tasks)
        parse(self)

    program.parse_tasks = parse_tasks  # type: ignore[method-assign]


def spread(words: Sequence[str], contexts: Mapping[str, Any], tasks: Set[str]) -> list[str]:
    """Return a command line with each bare word after one of ``tasks`` as an option's value.

    Args:
        words: the tasks and their options.
        contexts: Invoke's, by task: ``flags`` by name, which know whether they take a value.
        tasks: those that take many targets.
    """
    spread_words: list[str] = []
    task, awaits_value = "", False
    for word in words:
        if awaits_value:
            awaits_value = False
        elif word in contexts:
            task = word
        elif task in tasks and not word.startswith("-"):
            word = f"{OPTION}={word}"
        elif task:
            flag = contexts[task].flags.get(word)
            awaits_value = flag is not None and flag.takes_value
        spread_words.append(word)
    return spread_words
