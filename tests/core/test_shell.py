"""Rendering of scripts, run by the real shells."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootwright.core import shell
from bootwright.core.shell import quote, quote_words, render, render_program

AWKWARD = 'it\'s "$HOME" `id` \\n %s *\ttab\nnew line\n-e é @name@ '


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(shell, "_PACKAGE", tmp_path)
    shell._read.cache_clear()
    yield tmp_path
    shell._read.cache_clear()


def output(script: str, interpreter: str = "sh") -> bytes:
    done = subprocess.run([interpreter, "-c", script], stdout=subprocess.PIPE, check=True)
    return done.stdout


@pytest.mark.parametrize("interpreter", ["dash", "bash"])
def test_values_reach_the_script_unchanged(package: Path, interpreter: str) -> None:
    (package / "show.sh").write_text(
        '#!/bin/sh\n# Comment.\nprintf \'<%s>\' "$text" "$number" "$yes" "$no"\n'
        'eval "set -- $words"\nprintf \'[%s]\' "$#" "$@"\n'
    )
    words = (AWKWARD, "", "two words", "-n")
    script = render("show.sh", text=AWKWARD, number=7, yes=True, no=False, words=words)
    expected = f"<{AWKWARD}><7><yes><>[4]" + "".join(f"[{word}]" for word in words)
    assert output(script, interpreter) == expected.encode()
    none = render("show.sh", text="", number=0, yes="", no="", words=())
    assert output(none, interpreter) == b"<><0><><>[0]"


def test_files_are_joined_and_only_a_program_has_a_shebang(
    package: Path,
) -> None:
    (package / "one.sh").write_text("#!/bin/sh\none() { echo one; }\n")
    (package / "two.sh").write_text('#!/bin/sh\none\necho "$word"\n')
    script = render("one.sh", "two.sh", word="a b")
    assert script == "word='a b'\none() { echo one; }\none\necho \"$word\"\n"
    assert render_program("one.sh", "two.sh", word="a b") == f"#!/bin/sh\n{script}"


def test_names_and_values_that_a_shell_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")
    with pytest.raises(ValueError, match="NUL"):
        quote_words(["a", "\0"])
    with pytest.raises(ValueError, match="'PATH=x;' is not a name"):
        render(**{"PATH=x;": "1"})
