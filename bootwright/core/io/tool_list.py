"""The list of tools that ``scripts/setup``, ``inv doctor`` and error messages share."""

from functools import cache

from bootwright.core.errors import FailedError
from bootwright.core.paths import checkout
from bootwright.core.tools import Tool, parse_tools


@cache
def listed_tools() -> tuple[Tool, ...]:
    """Return the tools in ``scripts/tools.tsv``.

    Raises:
        FailedError: the list cannot be read.
        InputError: it is malformed.
    """
    path = checkout() / "scripts" / "tools.tsv"
    try:
        return parse_tools(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FailedError(f"{path}: cannot read it: {error.strerror}") from error


def debian_package(command: str) -> str:
    """Return the Debian package that contains ``command``; the command itself if not known."""
    packages = [tool.package("debian") for tool in listed_tools() if tool.command == command]
    return next(filter(None, packages), command)
