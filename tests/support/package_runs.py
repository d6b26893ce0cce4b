"""What a run of the script that installs packages has reported."""

from bootwright.remote.sections import Section


def failed(sections: tuple[Section, ...]) -> tuple[str, ...]:
    """Return what failed, and the message; nothing if the run ended well."""
    names = [section.name for section in sections]
    if names == ["missing", "warning"]:
        return ()
    assert names == ["failed"], sections
    return sections[0].lines
