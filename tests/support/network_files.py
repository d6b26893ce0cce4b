"""The files of a card that a target's network becomes."""

from pathlib import Path

from bootwright.card.network import network_changes
from bootwright.core.config import load_config
from bootwright.core.file_changes import FileChange, text_file
from bootwright.core.paths import checkout
from bootwright.core.templates import Renderer
from bootwright.rootfs.facts import RootfsFacts
from bootwright.rootfs.source import load_source
from tests.support.rootfs_facts import FACTS

FOLDER = "/etc/systemd/network"


def card_files(
    tmp_path: Path,
    network: str,
    rootfs: str = "debian",
    facts: RootfsFacts = FACTS,
    more: str = "",
) -> dict[str, str]:
    """Return the files of a target with these lines in ``[targets.odroid.network]``."""
    (tmp_path / "bootwright.toml").write_text(f"[targets.odroid.network]\n{network}\n{more}")
    target = load_config(tmp_path, "odroid", {"rootfs": rootfs}).target
    values: dict[str, object] = {"target": target, "mac": "02:00:00:00:00:01"}
    values["board"] = {"name": "odroid-xu3", "ethernet_driver": "smsc95xx"}
    renderer = Renderer(checkout() / "templates")

    def rendered(path: str, template: str, mode: int = 0o644, **more: object) -> FileChange:
        return text_file(path, renderer.render(template, {**values, **more}), mode)

    changes = network_changes(target, load_source(checkout(), rootfs), facts, rendered)
    found = {}
    for change in changes:
        assert isinstance(change, FileChange)
        found[change.path] = change.data.decode()
    return found
