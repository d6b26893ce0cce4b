"""Facts that the engine reports, for the evaluators of images, containers and the swarm."""

from collections.abc import Mapping

from bootwright.audit.checks.settings import why_no_engine
from bootwright.audit.facts import AuditFacts

MAX_OPTIONS = 100
"""The most security options of an engine; real ones have ten. More are not evaluated."""

MAX_OPTION_CHARACTERS = 1000
"""The most characters of a security option."""


def why_unknown(facts: AuditFacts, name: str) -> str:
    """Return why the engine did not report a fact of :class:`AuditFacts`, by its name."""
    text = facts.troubles.get(name)
    return why_no_engine(facts) or (
        f"docker did not report it: {text}" if text else "docker did not report it"
    )


def engine_value(facts: AuditFacts, *keys: str) -> object:
    """Return the value in ``docker info`` at a path of keys; ``None`` if there is none."""
    value: object = facts.info
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def security_options(facts: AuditFacts) -> tuple[Mapping[str, str], ...] | None:
    """Return the engine's security options, each as pairs; ``None`` if they are not known.

    The form is ``name=seccomp,profile=builtin``.
    """
    options = engine_value(facts, "SecurityOptions")
    if not isinstance(options, list) or len(options) > MAX_OPTIONS:
        return None
    return tuple(
        {key: value for key, _, value in (pair.partition("=") for pair in option.split(","))}
        for option in options
        if isinstance(option, str) and len(option) <= MAX_OPTION_CHARACTERS
    )


def security_option(facts: AuditFacts, name: str) -> Mapping[str, str] | None:
    """Return the security option with this name; ``None`` if the engine does not have it."""
    for option in security_options(facts) or ():
        if option.get("name") == name:
            return option
    return None


def swarm_state(facts: AuditFacts) -> str:
    """Return the state of the swarm node, such as ``inactive``; empty if it is not known."""
    state = engine_value(facts, "Swarm", "LocalNodeState")
    return state if isinstance(state, str) else ""
