"""The program of the commands ``inv`` and ``bootwright``: finds the checkout and runs its tasks.

Both commands do the same: ``inv`` is for use in a checkout, ``bootwright`` for use anywhere.
``scripts/setup`` makes both in the checkout's ``.venv/bin``.
"""

import inspect
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NoReturn

from invoke.collection import Collection
from invoke.config import Config
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.program import Program as InvokeProgram
from invoke.util import helpline

from bootwright import __version__
from bootwright.core import completion, paths
from bootwright.core.cli import report_end
from bootwright.core.command_line import Parser, no_task, usage
from bootwright.core.errors import InputError
from bootwright.core.io.operator import give_back, sudo_operator, use_home
from bootwright.core.io.run_log import RunLog
from bootwright.core.io.signals import exit_on_signal
from bootwright.core.options import OptionValue, option_value_of
from bootwright.core.paths import build_dir, cache_dir, checkout
from bootwright.core.target_names import names

CHECKOUT_VARIABLE = "BOOTWRIGHT_CHECKOUT"
"""Environment variable with the checkout to work in."""

DEBUG_VARIABLE = "BOOTWRIGHT_DEBUG"
"""Environment variable that does the same as ``--debug``."""


def main() -> NoReturn:
    """Run the command line of this process; the entry of ``inv`` and ``bootwright``."""
    sys.exit(Program().run_line(sys.argv))


def open_streams() -> None:
    """Make standard input, output and error usable, however this process was started.

    One that the caller has closed is opened on ``/dev/null``: Python has ``None`` there, and the
    next file that is opened would get its number. A letter that the locale's encoding does not
    have is printed as an escape, such as ``\\u043a``, instead of ending the run.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open()
    sys.stdout, sys.stderr = sys.stdout or nowhere.open("w"), sys.stderr or nowhere.open("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def replace_invoke(namespace: Collection) -> None:
    """Run these tasks with our own program if Invoke's program is running.

    ``tasks.py`` calls this while it is loaded, so that another ``inv``, such as that of the
    distribution, behaves as ours. It returns only if Invoke's program is not running.
    """
    if "invoke.main" in sys.modules:
        sys.exit(Program(namespace).run_line(sys.argv))


class Program(InvokeProgram):
    """Invoke's program with our own options, parser, error messages and exit codes.

    Args:
        namespace: the tasks; loaded from the checkout if ``None``.
    """

    def __init__(self, namespace: Collection | None = None) -> None:
        super().__init__(name="Bootwright", binary="inv", version=__version__, namespace=namespace)

    def core_args(self) -> list[Argument]:
        """Return the options that may be written before or after a task."""
        return [
            Argument(
                names=("checkout",),
                help="the checkout to work in, instead of the one around this directory",
            ),
            # Not shown in the help, as it has no text: only the completion scripts use it.
            Argument(names=("complete",), kind=bool, default=False),
            Argument(
                names=("debug",),
                kind=bool,
                default=False,
                help="print on standard error each program, connection and its result",
            ),
            Argument(
                names=("help", "h"), optional=True, help="explain the program, or a task; and end"
            ),
            Argument(names=("list", "l"), kind=bool, default=False, help="list the tasks; and end"),
            Argument(
                names=("version", "V"), kind=bool, default=False, help="print the version; and end"
            ),
        ]

    @property
    def initial_context(self) -> ParserContext:
        """The options of the program itself."""
        return ParserContext(args=self.core_args())

    def run_line(self, argv: Sequence[str]) -> int:
        """Run a command line; print an error, if there is one; return the exit code.

        Args:
            argv: the program's name, and the words that follow it.
        """
        log: RunLog | None = None
        open_streams()
        operator = sudo_operator(os.environ, os.geteuid())
        if operator is not None:
            use_home(operator)
        try:
            self.argv = list(argv)
            self.parse_core_args()
            if self.args.version.value:  # before a task: needs no checkout
                self.print_version()
                return 0
            if self.args.complete.value:
                self._complete(self.core.unparsed[1:])  # after "--"
                return 0
            use_checkout(self.args.checkout.value, self.argv)
            self._load()
            self.parse_tasks()
            self.parse_cleanup()
            # Without configuration files: settings for Invoke must not change our commands.
            self.config = Config(lazy=True)
            self.config.merge()
            debug = self.args.debug.value or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
            names = [task.name or "" for task in self.tasks]
            log = RunLog(build_dir() / "log", "-".join(names)[:60], debug)
            # So that SIGTERM and SIGHUP clean up as Ctrl-C does, in every task.
            with exit_on_signal(), log.recording(version=__version__, argv=self.argv):
                self.execute()
        except (Exception, KeyboardInterrupt) as error:
            return report_end(error, log.path if log else None)
        finally:
            if operator is not None and log is not None:
                for folder in (build_dir(), cache_dir()):
                    give_back(operator, folder)
        return 0

    def _load(self) -> None:
        self.collection = self.namespace or load_tasks(checkout())
        self.scoped_collection = self.collection
        self.list_root, self.list_depth, self.list_format = None, None, "flat"

    def _complete(self, words: Sequence[str]) -> None:
        core = completion.reading_of(Parser(self.initial_context, tasks_known=False), words[:-1])
        use_checkout(core.core.args.checkout.value, self.argv)
        self._load()
        tasks = {name: helpline(self.collection[name]) or "" for name in self.collection.task_names}
        lines = completion.completion_lines(
            self._make_parser(), words, lambda kind: names(kind, checkout(), build_dir()), tasks
        )
        print("".join(f"{line}\n" for line in lines), end="")

    def parse_core_args(self) -> None:
        """Read the options before the first task; ``core.unparsed`` is the rest."""
        parser = Parser(self.initial_context, tasks_known=False)
        self.core = parser.parse_argv(self.argv[1:])

    def parse_cleanup(self) -> None:
        """If the version, the help or the list of tasks is wanted, print it and end the run."""
        task = self.args.help.value
        if self.args.version.value:
            self.print_version()
        elif isinstance(task, str):
            if task not in self.parser.contexts:
                raise InputError(no_task(task, self.parser.contexts))
            self.print_task_help(task)
        elif self.args.list.value:
            self.list_tasks()
        elif task or not self.tasks:
            self.print_help()
        else:
            return
        raise Exit(code=0)

    def print_help(self) -> None:
        """Print how the program is called, its options and its tasks."""
        print("Usage: inv [OPTIONS] TASK [its options] [TASK …]\n\nOptions of all tasks:\n")
        self.print_columns([line for line in self._help_of(self.initial_context) if line[1]])
        self.list_tasks()

    def task_list_opener(self, extra: str = "") -> str:  # noqa: ARG002
        """Return the line above the list of tasks."""
        return "Tasks (inv TASK --help explains one)"

    def print_task_help(self, name: str) -> None:
        """Print how a task is called, what it does, and its options."""
        context = self.parser.contexts[name]
        print(f"Usage: {usage(context)} [OPTIONS]\n")
        for line in (inspect.getdoc(self.collection[name]) or "").splitlines():
            print(f"  {line}".rstrip())
        print("\nOptions:\n")
        self.print_columns(self._help_of(context))

    def _help_of(self, context: ParserContext) -> list[tuple[str, str | None]]:
        """Return how each option is written, with a name for its value, and what it does."""
        values = self._options[context.name or ""]
        lines = []
        for spec, text in context.help_tuples():
            # Such as "--json", "--device=STRING" or "-h [STRING], --help[=STRING]".
            option = re.split(r"[=\[]", spec[spec.index("--") + 2 :])[0]
            name = values.get(option, OptionValue()).placeholder
            if option in context.args and context.args[option].kind is list:
                spec += "=STRING"  # Invoke shows no value for an option that can be repeated
            lines.append((spec.replace("STRING", name), text))
        return lines

    def _make_parser(self) -> Parser:
        contexts = self.collection.to_contexts()
        tasks = [context.name or "" for context in contexts]
        self._options = {name: task_options(self.collection[name].body) for name in tasks}
        self._options[""] = {"checkout": OptionValue("folder"), "help": OptionValue("task")}
        return Parser(self.initial_context, contexts, self._options)


def task_options(function: object) -> Mapping[str, OptionValue]:
    """Return the value that each option of a task takes, by the option's name without dashes."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {one.name.replace("_", "-"): option_value_of(one.annotation) for one in parameters}


def load_tasks(root: Path) -> Collection:
    """Return the tasks of the checkout ``root``."""
    spec = spec_from_file_location("tasks", root / "tasks.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return Collection.from_module(module)


def use_checkout(given: str | None, argv: Sequence[str]) -> None:
    """Return if the running code is that of the wanted checkout; else run the program of that one.

    Code, data and pinned versions of libraries in a checkout belong together, so the ``.venv`` of
    the wanted checkout is used.

    Args:
        given: the value of ``--checkout``.
        argv: the command line, with the program's name.

    Raises:
        InputError: there is no checkout, or ``scripts/setup`` was not run in it.
    """
    root, own = wanted_checkout(given, os.environ, Path.cwd(), checkout()), checkout()
    if root.samefile(own):
        # Root writes no bytecode into another user's checkout: the owner could not remove it.
        sys.dont_write_bytecode |= root.stat().st_uid != os.geteuid()
        return
    program = root / ".venv" / "bin" / "bootwright"
    # If this program is running already, the .venv was moved or copied from another checkout.
    if not program.exists() or argv[0] == str(program):
        raise InputError(f"{root} is not set up: run {root / 'scripts' / 'setup'}")
    os.execv(program, [str(program), *argv[1:]])


def wanted_checkout(
    given: str | None, environment: Mapping[str, str], here: Path, own: Path
) -> Path:
    """Return the checkout to work in.

    It is the one in ``--checkout``, else in ``BOOTWRIGHT_CHECKOUT``, else the one that contains the
    current directory, else the one that this program belongs to.

    Raises:
        InputError: the named folder is not a checkout, or none was found.
    """
    named = (("--checkout", given), (CHECKOUT_VARIABLE, environment.get(CHECKOUT_VARIABLE)))
    for source, name in named:
        if name:
            root = (here / paths.expand_user(name)).resolve()
            if not is_checkout(root):
                raise InputError(
                    f"{source}: {name} is not a checkout of Bootwright: it has no tasks.py"
                )
            return root
    for root in (here, *here.parents, own):
        if is_checkout(root):
            return root
    raise InputError("there is no checkout of Bootwright here; name it: --checkout DIR")


def is_checkout(folder: Path) -> bool:
    """Return whether a folder is a checkout of Bootwright."""
    return (folder / "tasks.py").is_file() and (folder / "bootwright").is_dir()
