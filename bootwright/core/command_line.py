"""Reading a command line: tasks, their options, and the words that need no option's name.

Invoke's own parser knows no list of words (``inv provision a b c``), no word that may be left out
(``inv flash /dev/sdX``), and its errors name its own classes. This one reads into the same
``ParserContext`` objects, so that Invoke does the rest.
"""

import copy
from collections.abc import Mapping, Sequence

from invoke.parser import Parser as InvokeParser
from invoke.parser import ParseResult
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext, to_flag

from bootwright.core.errors import InputError
from bootwright.core.options import Takes, check_word, did_you_mean

TakesOfTask = Mapping[str, Takes]
"""What a task's options take, by the option's name without its dashes."""


class Parser(InvokeParser):
    """Reads the words of a command line.

    Args:
        core: the options that are not of a task, such as ``--help``.
        contexts: the tasks.
        takes: what the options of each task take; those that are not of a task, under "".
        tasks_known: ``False`` while the tasks are not loaded yet; reading ends at the first word
            that is no option.
    """

    def __init__(
        self,
        core: ParserContext,
        contexts: Sequence[ParserContext] = (),
        takes: Mapping[str, TakesOfTask] | None = None,
        *,
        tasks_known: bool = True,
    ) -> None:
        super().__init__(contexts=contexts, initial=core, ignore_unknown=not tasks_known)
        self.core = core
        self.takes = takes or {}

    def parse_argv(self, argv: list[str]) -> ParseResult:
        """Return the core options, then each task that is called, with their values.

        Raises:
            InputError: the words make no sense; says which, and what to write.
        """
        reading = Reading(self)
        for number, word in enumerate(argv):
            if self.ignore_unknown and reading.ends_before(word):
                reading.result.unparsed = list(argv[number:])
                break
            reading.take(word)
        reading.end_option()
        reading.end_task()
        return reading.result


class Reading:
    """A command line that is being read, word by word.

    Attributes:
        result: the core options, then each task that was called so far.
        awaiting: the option that still needs its value.
        only_words: ``--`` was read in a task: nothing that follows is an option or a task.
    """

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self.core = copy.deepcopy(parser.core)
        self.result = ParseResult([self.core])
        self.awaiting: Argument | None = None
        self.only_words = False
        self._given: set[int] = set()

    @property
    def context(self) -> ParserContext:
        """The task whose words are read; the core options before the first one."""
        return self.result[-1]

    def ends_before(self, word: str) -> bool:
        """Tell whether ``word`` is no core option and no value of one."""
        return self.awaiting is None and (word in ("-", "--") or not word.startswith("-"))

    def take(self, word: str) -> None:
        """Read one word more.

        Raises:
            InputError: it makes no sense here.
        """
        if self.awaiting is not None and self._is_value(word):
            option, self.awaiting = self.awaiting, None
            self._set(option, word)
            return
        self.end_option(before=word)
        if self.only_words or word == "-" or not word.startswith("-"):
            self._take_word(word)
        elif word == "--":
            self.only_words = self.context is not self.core
        else:
            self._take_option(word)

    def end_option(self, before: str = "") -> None:
        """Pass when the last option needs no value, or was given one; ``before`` is what follows.

        Raises:
            InputError: it needs one.
        """
        option, self.awaiting = self.awaiting, None
        if option is None:
            return
        if option.optional:
            option.set_value(True, cast=False)
            return
        flag = flag_of(option)
        what = f": {option.help}" if option.help else ""
        if before:
            what = f", and {before} is an option; if it is meant, write {flag}={before}"
        raise InputError(f"{flag} needs a value{what}")

    def end_task(self) -> None:
        """Pass when the task was given every word that it needs, or its help is asked for.

        Raises:
            InputError: one is missing.
        """
        if self.core.args.help.value is None:
            for argument in self.context.positional_args:
                if is_required(argument) and argument.value is None:
                    name = self.context.name
                    what = f" ({argument.help})" if argument.help else ""
                    raise InputError(
                        f"{name}: {placeholder(argument)} is missing{what}: {usage(self.context)}"
                    )

    def flag(self, name: str) -> tuple[Argument | None, bool]:
        """Return the option of the task, or of the core, and whether ``name`` is its ``--no-``."""
        for context in (self.context, self.core):
            # Not by get(), which does not know second names, such as -V.
            if name in context.flags:
                return context.flags[name], False
            if name in context.inverse_flags:
                return context.flags[context.inverse_flags[name]], True
        return None, False

    def next_positional(self) -> Argument | None:
        """Return what the next word is that is no option; ``None`` if none is possible."""
        free = [
            argument
            for argument in self.context.positional_args
            if argument.kind is list or id(argument) not in self._given
        ]
        return min(free, key=lambda one: (not is_required(one), one.kind is list), default=None)

    def takes(self, argument: Argument) -> Takes:
        """Return what an option of the current task, or of all, takes."""
        of_core = argument is self.core.args.get(argument.names[0])
        task = "" if of_core else self.context.name or ""
        return self._parser.takes.get(task, {}).get(argument.names[0], Takes())

    def is_done(self, argument: Argument) -> bool:
        """Tell whether an option was given, and cannot be given once more."""
        if argument.takes_value:
            return argument.kind is not list and id(argument) in self._given
        return bool(argument.value) != bool(argument.default)

    def _is_value(self, word: str) -> bool:
        """Tell whether ``word`` is the value that is awaited, rather than the next option."""
        assert self.awaiting is not None
        if self.awaiting.optional and self.awaiting is self.core.flags["--help"]:
            return not word.startswith("-")
        return not word.startswith("--") and self.flag(word) == (None, False)

    def _take_option(self, word: str) -> None:
        name, has_value, value = word.partition("=")
        option, inverse = self.flag(name)
        if option is None:
            raise InputError(self._no_option(name))
        if option is self.core.flags["--help"] and self.context is not self.core:
            option.value = self.context.name
        elif not option.takes_value:
            if has_value:
                raise InputError(f"{name} takes no value, and {value!r} was given")
            option.set_value(not inverse)
        elif has_value:
            self._set(option, value)
        else:
            self.awaiting = option

    def _take_word(self, word: str) -> None:
        positional = self.next_positional()
        required = positional is not None and is_required(positional)
        if word in self._parser.contexts and not required and not self.only_words:
            self.end_task()
            self.result.append(copy.deepcopy(self._parser.contexts[word]))
        elif positional is not None:
            self._set(positional, word)
        elif self.context is self.core:
            raise InputError(no_task(word, self._parser.contexts))
        else:
            near = did_you_mean(word, self._parser.contexts)
            raise InputError(
                f"{self.context.name}: {word!r} is one word too many: {usage(self.context)}{near}"
            )

    def _set(self, argument: Argument, value: str) -> None:
        shown = placeholder(argument) if is_required(argument) else flag_of(argument)
        if argument.kind is not list and id(argument) in self._given:
            raise InputError(
                f"{shown} is given twice, as {argument.value!r} and as {value!r}; give it once"
            )
        takes = self.takes(argument)
        if takes.kind == "word":
            check_word(shown, value, takes.words)
        self._given.add(id(argument))
        argument.value = value

    def _no_option(self, name: str) -> str:
        flags = [flag for flag in self.context.flag_names() if flag.startswith("--")]
        if self.context is self.core:
            help_ = "what is of a task comes after the task's name; see inv --help"
            return f"no option {name} of inv{did_you_mean(name, flags) or '; ' + help_}"
        task = self.context.name
        help_ = f"; inv {task} --help shows those that it has"
        return f"{task} has no option {name}{did_you_mean(name, flags) or help_}"


def is_required(argument: Argument) -> bool:
    """Tell whether a task cannot do without this word."""
    return argument.positional and argument.kind is not list and argument.default is None


def no_task(word: str, tasks: Mapping[str, ParserContext]) -> str:
    """Return the message for a word that is no task."""
    there = f"; there are: {', '.join(sorted(tasks))}"
    return f"no task {word!r}{did_you_mean(word, tasks) or there}"


def usage(context: ParserContext) -> str:
    """Return how a task is called, such as ``inv passphrase TARGET ACTION``."""
    words = [f"inv {context.name}"]
    for argument in context.positional_args:
        name = placeholder(argument)
        if argument.kind is list:
            name = f"[{name} …]"
        elif not is_required(argument):
            name = f"[{name}]"
        words.append(name)
    return " ".join(words)


def placeholder(argument: Argument) -> str:
    """Return what stands for a word that needs no option's name, such as TARGET."""
    return argument.names[0].upper()


def flag_of(argument: Argument) -> str:
    """Return how an option is written, such as ``--dry-run``."""
    return str(to_flag(argument.names[0]))
