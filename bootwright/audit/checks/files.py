"""Section 3: owners and permissions of Docker's files, compared with the profile.

Modes are compared bit by bit. Sources: docker-bench-security 1.6.0; stat(1).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial

from bootwright.audit.checks.settings import configured, installed
from bootwright.audit.checks.watches import unlisted
from bootwright.audit.model import Evaluation, Evaluator, Item, Subject, worst_of
from bootwright.hosts.file_modes import PathMode
from bootwright.hosts.profile import FileMode

OWNER = (*(f"3.{number}" for number in range(1, 21, 2)), "3.22", "3.23")
"""The checks of owners."""

MODE = (*(f"3.{number}" for number in range(2, 21, 2)), "3.21", "3.24")
"""The checks of permissions."""

_KEYS = {
    **dict.fromkeys(("3.9", "3.10"), "tlscacert"),
    **dict.fromkeys(("3.11", "3.12"), "tlscert"),
    **dict.fromkeys(("3.13", "3.14"), "tlskey"),
}
"""For checks of certificates, the key of daemon.json that has the path."""

_SETTINGS = ("3.17", "3.18")
"""The checks of daemon.json itself."""


def owned(subject: Subject, check: str) -> Evaluation:
    """Evaluate the owners of a check's files."""
    return _evaluated(subject, check, owner=True)


def permitted(subject: Subject, check: str) -> Evaluation:
    """Evaluate the permissions of a check's files."""
    return _evaluated(subject, check, owner=False)


def _evaluated(subject: Subject, check: str, owner: bool) -> Evaluation:
    facts = subject.facts
    if unseen := unlisted(facts):
        return Evaluation("skipped", unseen)
    entries = [entry for entry in subject.profile.files.file if check in entry.checks]
    places = ", ".join(path for entry in entries for path in entry.paths)
    items: dict[str, Item] = {}
    for entry in entries:
        named = facts.tls.get(_KEYS.get(check, ""))
        found = [mode for mode in facts.modes.values() if _is_meant(entry, mode.path)]
        for mode in (*found, *([named] if named is not None else ())):
            items[mode.path] = _item(entry, mode, owner, mode.path in facts.acls)
    for path, why in _unread(subject, check).items():
        items.setdefault(path, Item(path, "skipped", why))
    good = "; ".join(item.evidence for item in items.values())
    return worst_of(tuple(items.values()), good, f"not there: {places}")


def _is_meant(entry: FileMode, path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in entry.paths)


def _item(entry: FileMode, mode: PathMode, owner: bool, acl: bool) -> Item:
    found = f"{mode.mode:04o} {mode.owner} {mode.path}"
    if mode.kind == "symbolic link":
        return Item(mode.path, "skipped", f"{found} is a symbolic link: its target is not known")
    if owner:
        right, wanted = mode.owner == entry.owner, entry.owner
    elif acl:
        # It is not known which users the ACL allows, nor whether it allows less than the mode.
        return Item(mode.path, "warn", f"{found} has an ACL; wanted: none; getfacl shows it")
    elif entry.exact:
        right, wanted = mode.mode == entry.bits, f"exactly {entry.mode}"
    else:
        right, wanted = not mode.mode & ~entry.bits, f"no more than {entry.mode}"
    return (
        Item(mode.path, "pass", found)
        if right
        else Item(mode.path, "warn", f"{found}; wanted: {wanted}")
    )


def _unread(subject: Subject, check: str) -> dict[str, str]:
    """Return the files of a check that were not examined, with the reason."""
    facts = subject.facts
    if not installed(facts):
        return {}
    if check in _SETTINGS:
        elsewhere = facts.daemon_json is not None or "daemon-json" in facts.troubles
        return {facts.settings: "its owner and mode could not be read"} if elsewhere else {}
    if check not in _KEYS:
        return {}
    setting, verify = configured(facts, _KEYS[check]), configured(facts, "tlsverify")
    if setting.unknown:
        return {setting.key: setting.unknown}
    if isinstance(setting.value, str) and setting.value:
        return {setting.value: f"its owner and mode could not be read; {setting}"}
    if verify.value is True:
        return {setting.key: "not set; it is not known where the engine then looks for it"}
    return {}


EVALUATORS: Mapping[str, Evaluator] = {
    **{check: partial(owned, check=check) for check in OWNER},
    **{check: partial(permitted, check=check) for check in MODE},
}
