"""Reading a command line: tasks, their options, and positional arguments.

Invoke's own parser supports no list of positional arguments (``inv provision a b c``) and no
optional one (``inv flash /dev/sdX``), and its error messages contain names of its classes. This
parser fills the same ``ParserContext`` objects, so that Invoke can run the tasks.
"""

import copy
from collections.abc import Mapping, Sequence

from invoke.parser import Parser as InvokeParser
from invoke.parser import ParseResult
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext, to_flag

from bootwright.core.errors import InputError
from bootwright.core.options import OptionValue, check_word, did_you_mean

TaskOptions = Mapping[str, OptionValue]
"""The values that a task's options take, by the option's name without its dashes."""


class Parser(InvokeParser):
    """Reads the words of a command line.

    Args:
        core: the options of the program itself, such as ``--help``.
        contexts: the tasks.
        options: the values that options take, by task; those of the program itself under "".
        tasks_known: ``False`` while the tasks are not loaded yet; reading then ends at the first
            word that is not an option.
    """

    def __init__(
        self,
        core: ParserContext,
        contexts: Sequence[ParserContext] = (),
        options: Mapping[str, TaskOptions] | None = None,
        *,
        tasks_known: bool = True,
    ) -> None:
        super().__init__(contexts=contexts, initial=core, ignore_unknown=not tasks_known)
        self.core = core
        self.options = options or {}

    def parse_argv(self, argv: list[str]) -> ParseResult:
        """Return the core options, then each task that is called, with their values.

        Raises:
            InputError: a word cannot be used; the message says which one, and what to write.
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
        only_words: ``--`` was read in a task: every word that follows is a positional argument.
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
        """The task whose words are being read; before the first task, the core options."""
        return self.result[-1]

    def ends_before(self, word: str) -> bool:
        """Return whether ``word`` is neither a core option nor the value of one."""
        return self.awaiting is None and (word in ("-", "--") or not word.startswith("-"))

    def take(self, word: str) -> None:
        """Read the next word.

        Raises:
            InputError: it cannot be used here.
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
        """Check that the last option has its value, if it needs one.

        Args:
            before: the word that follows; empty at the end of the command line.

        Raises:
            InputError: its value is missing.
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
        """Check that the task has all positional arguments that it needs.

        Not if the help, the list of tasks or the version is wanted: then no task is run.

        Raises:
            InputError: one is missing.
        """
        if not any(self.core.args[name].value for name in ("help", "list", "version")):
            for argument in self.context.positional_args:
                if is_required(argument) and argument.value is None:
                    shown = placeholder(argument)
                    what = f"\n  {shown}: {argument.help}" if argument.help else ""
                    raise InputError(
                        f"{self.context.name}: {shown} is missing: {usage(self.context)}{what}"
                    )

    def flag(self, name: str) -> tuple[Argument | None, bool]:
        """Return the option called ``name``, and whether ``name`` is its ``--no-`` form.

        The task's options come first, then the core options; ``None`` if there is no such option.
        """
        for context in (self.context, self.core):
            # Not by get(), which does not know second names, such as -V.
            if name in context.flags:
                return context.flags[name], False
            if name in context.inverse_flags:
                return context.flags[context.inverse_flags[name]], True
        return None, False

    def next_positional(self) -> Argument | None:
        """Return the positional argument for the next word; ``None`` if there is none left."""
        free = [
            argument
            for argument in self.context.positional_args
            if argument.kind is list or id(argument) not in self._given
        ]
        return min(free, key=lambda one: (not is_required(one), one.kind is list), default=None)

    def option_value(self, argument: Argument) -> OptionValue:
        """Return the value that an option of the current task, or a core option, takes."""
        of_core = argument is self.core.args.get(argument.names[0])
        task = "" if of_core else self.context.name or ""
        return self._parser.options.get(task, {}).get(argument.names[0], OptionValue())

    def is_done(self, argument: Argument) -> bool:
        """Return whether an option was given and must not be given again."""
        if argument.takes_value:
            return argument.kind is not list and id(argument) in self._given
        return bool(argument.value) != bool(argument.default)

    def _is_value(self, word: str) -> bool:
        """Return whether ``word`` is the awaited value, and not the next option."""
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
        if not value:
            # Such as "$FILE" in a script where FILE is not set. It must not count as "not given".
            other = "" if is_required(argument) else ", or leave it out"
            raise InputError(f"{shown} is empty; give it a value{other}")
        if argument.kind is not list and id(argument) in self._given:
            raise InputError(
                f"{shown} is given twice, as {argument.value!r} and as {value!r}; give it once"
            )
        allowed = self.option_value(argument)
        if allowed.kind == "word":
            check_word(shown, value, allowed.words)
        self._given.add(id(argument))
        argument.value = value

    def _no_option(self, name: str) -> str:
        flags = [flag for flag in self.context.flag_names() if flag.startswith("--")]
        if self.context is self.core:
            help_ = "options of a task are written after the task's name; see inv --help"
            return f"no option {name} of inv{did_you_mean(name, flags) or '; ' + help_}"
        task = self.context.name
        help_ = f"; inv {task} --help lists its options"
        return f"{task} has no option {name}{did_you_mean(name, flags) or help_}"


def is_required(argument: Argument) -> bool:
    """Return whether a task needs this positional argument."""
    return argument.positional and argument.kind is not list and argument.default is None


def no_task(word: str, tasks: Mapping[str, ParserContext]) -> str:
    """Return the message for a word that is not the name of a task."""
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
    """Return the name of a positional argument in help and messages, such as TARGET."""
    return argument.names[0].upper()


def flag_of(argument: Argument) -> str:
    """Return how an option is written, such as ``--dry-run``."""
    return str(to_flag(argument.names[0]))
