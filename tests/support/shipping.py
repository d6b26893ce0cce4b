"""A board that ships its logs, and the operator who collects them."""

import re
from pathlib import Path

from bootwright.core.config import Logs
from bootwright.core.endpoints import UnlockMode
from bootwright.core.secret import Secret
from bootwright.emulator.plan import HOST_ADDRESS_IN_GUEST
from bootwright.pki.certificate_store import CertificateSubject
from bootwright.pki.certificates import ServerNames
from bootwright.provision.desired_state import TlsFiles
from bootwright.provision.result import ProvisionResult
from tests.support import logship
from tests.support.hostboard import HostBoard
from tests.support.package_cache import free_port


class Shipping:
    """The operator's side, and what the board is to be."""

    def __init__(
        self,
        board: HostBoard,
        folder: Path,
        server: str = HOST_ADDRESS_IN_GUEST,
        listen: str = "127.0.0.1",
    ) -> None:
        """Begin with what is in the folder; in an empty one a port is chosen and noted.

        Args:
            board: that ships its logs.
            folder: of the operator.
            server: the address at which the board reaches this machine.
            listen: the address of this machine that it leads to.
        """
        self.board = board
        self.server = server
        noted = folder / "port"
        if not noted.exists():
            noted.write_text(f"{free_port()}\n")
        names = ServerNames(("localhost",), (server, "127.0.0.1"))
        self.operator = logship.Operator(
            folder, int(noted.read_text()), names=names, address=listen
        )

    def provision(self, queue: str = "64MiB", unlock: UnlockMode = "serial") -> ProvisionResult:
        files = self.operator.files(CertificateSubject("log", "odroid"))
        read = [Path(name).read_bytes() for name in (files.authority, files.certificate, files.key)]
        logs = Logs(server=self.server, port=self.operator.port, queue=queue)
        return self.board.provision(
            ships=logs,
            unlock=unlock,
            logs=TlsFiles(read[0], read[1], Secret(read[2])),
            migrate_userns=True,
        )

    def bytes(self) -> bytes:
        folder = self.operator.store.folder / "odroid"
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return b"".join(file.read_bytes() for file in files)

    def numbers(self) -> int:
        return len(re.findall(rb"\] number \d+\n", self.bytes()))
