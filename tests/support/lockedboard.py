"""A board whose volume is locked and is opened over SSH."""

from dataclasses import dataclass, replace
from typing import Any

from bootwright.core.endpoints import Endpoint
from bootwright.core.report import TextReporter
from bootwright.core.secret import Secret
from bootwright.volume.status import status
from bootwright.volume.unlock_result import UnlockResult
from bootwright.volume.unlock_ssh import unlock_over_ssh
from tests.support.bench import WORD
from tests.support.hostboard import GUEST_S, Board
from tests.support.schemas import check_document

CRYPT_UNIT = r"systemd-cryptsetup@docker\x2ddata.service"


@dataclass
class LockedBoard(Board):
    """A board at the stage ``locked``."""

    @property
    def endpoint(self) -> Endpoint:
        """As for a target with ``unlock = "ssh"``."""
        return replace(super().endpoint, unlock="ssh")

    def lock(self, wipe: bool = False) -> None:
        """Lock the volume; ``wipe``: and take its file system away, as if never unlocked."""
        self.sh(
            "systemctl stop docker containerd\n"
            "for place in /var/lib/docker /var/lib/containerd /mnt/docker-data; do\n"
            "    ! mountpoint -q $place || umount $place || exit\n"
            "done"
        )
        if wipe:
            self.sh(
                "[ -e /dev/mapper/docker-data ] ||"
                " cryptsetup open --key-file=- /dev/vda2 docker-data\n"
                "wipefs -qa /dev/mapper/docker-data",
                Secret(WORD.encode()),
            )
        self.sh(
            f"systemctl stop '{CRYPT_UNIT}'; systemctl reset-failed\n"
            "[ ! -e /dev/mapper/docker-data ] || cryptsetup close docker-data"
        )

    def docker(self, unit: str) -> None:
        """Replace the unit that stands for Docker."""
        self.sh("cat >/etc/systemd/system/docker.service; systemctl daemon-reload", unit.encode())

    def unlock(self, word: str = WORD, user: str = "root") -> UnlockResult:
        """Unlock the volume over SSH."""
        endpoint = self.endpoint
        assert endpoint.ssh is not None
        return unlock_over_ssh(
            replace(endpoint, ssh=replace(endpoint.ssh, user=user)),
            Secret(word.encode()),
            timeout=GUEST_S,
            reporter=TextReporter(),
            directory=self.known,
        )

    def status(self) -> dict[str, Any]:
        """Return the document of `inv status`."""
        found = status(self.endpoint, directory=self.known)
        return check_document("status", found.document())
