"""Accepting TLS connections from boards, with limits, so that no sender can lock out another.

A connection without a finished TLS handshake is held for a short time only, and only so many of
one address and of all. After the handshake the board is known by its certificate, and each board
may have a few connections. At a limit the oldest connection is closed, not the new one: a board
finishes its handshake in milliseconds, so it gets in although somebody else holds connections.
"""

import asyncio
import errno
import gc
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Notify = Callable[[str], None]
"""Shows a message of one line to the operator."""

_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_ACCEPTED_AT_ONCE = 4
"""How many connections are accepted before others get their turn. A handshake takes about six
turns, so fewer than :attr:`Limits.handshakes_of_address` are accepted in the meantime, however fast
somebody connects."""

_PAUSE_S = 1.0
"""Seconds until connections are accepted again after the machine had no descriptor for one."""

_COLLECTED_AT_ONCE = 64
"""After how many failed handshakes their memory is freed."""

_TLS_HANDSHAKE = b"\x16"
"""The first byte of a TLS connection: the content type "handshake", RFC 8446, section 5.1."""

_REPORT_S = 60.0
"""Seconds between two messages about refused connections."""

_OTHER_FILES = 256
"""How many file descriptors are kept for everything that is not a connection of a board."""


@dataclass(frozen=True)
class Limits:
    """How many connections there may be, and how long they may take.

    Attributes:
        handshakes: unfinished TLS handshakes in total. Each needs about 300 KiB of memory.
        handshakes_of_address: unfinished TLS handshakes of one address (of IPv6: of one /64).
        handshake_s: seconds within which a handshake has to be finished.
        of_board: connections of one board; its relay has one or two.
        boards: connections of all boards together.
        first_request_s: seconds after the handshake within which the first request has to begin.
    """

    handshakes: int = 128
    handshakes_of_address: int = 48
    handshake_s: float = 15.0
    of_board: int = 4
    boards: int = 4096
    first_request_s: float = 15.0


LIMITS = Limits()


class Refusals:
    """Counts refused connections: the first is reported at once, all others once a minute.

    Args:
        notify: shows the messages.
        every_s: seconds between two messages.
    """

    def __init__(self, notify: Notify, every_s: float = _REPORT_S) -> None:
        self.total = 0
        self._notify = notify
        self._every_s = every_s
        self._waiting: Counter[str] = Counter()
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reason: str, sender: str) -> None:
        """Count one refused connection."""
        self.total += 1
        if self._timer is None:
            self._notify(
                f"refused a connection of {sender}: {reason} (more are counted, and reported once"
                " a minute)"
            )
            self._start()
            return
        self._waiting[reason] += 1
        self._last = sender

    def close(self) -> None:
        """Report what is left, and end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._report()

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._report():
            self._start()

    def _report(self) -> bool:
        if not self._waiting:
            return False
        found = ", ".join(f"{count} × {reason}" for reason, count in self._waiting.most_common())
        total = self._waiting.total()
        self._waiting.clear()
        self._notify(f"refused {total} more connections, the last of {self._last}: {found}")
        return True


class _NotTlsError(OSError):
    """What was received is not TLS."""


@dataclass(eq=False)
class _Handshake:
    """A connection whose TLS handshake is not finished."""

    connection: socket.socket
    sender: str
    network: str
    replaced: str = ""
    """Why it was closed in favour of another one; empty: it was not."""


@dataclass
class _Board:
    """The connections of one board, the oldest first, each with the timer of its first request."""

    open: list[tuple[RequestHandler, asyncio.TimerHandle]] = field(default_factory=list)

    def forget_closed(self) -> None:
        kept = []
        for protocol, timer in self.open:
            if protocol.transport is None:
                timer.cancel()
            else:
                kept.append((protocol, timer))
        self.open = kept


class Listener:
    """Accepts connections for an HTTP server, until :meth:`close`.

    Args:
        server: handles the connections.
        context: the TLS settings; they have to ask clients for a certificate.
        refusals: counts refused connections.
        limits: how many connections there may be.
    """

    def __init__(
        self,
        server: web.Server,
        context: ssl.SSLContext,
        refusals: Refusals,
        limits: Limits = LIMITS,
    ) -> None:
        self._server = server
        self._context = context
        self._refusals = refusals
        self._limits = limits
        self._sockets: list[socket.socket] = []
        self._handshakes: dict[_Handshake, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._boards: dict[str, _Board] = {}
        self._failures = 0

    def listen(self, host: str, port: int) -> int:
        """Start to accept connections, and return the port.

        Args:
            host: the address, or a name of addresses of this machine.
            port: the port; 0: any free one.

        Raises:
            socket.gaierror: ``host`` is not known.
            OSError: the port cannot be opened.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((one[0], one[4][0]) for one in found):
            listener = socket.create_server((str(address), port), family=family, backlog=1024)
            self._sockets.append(listener)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)
        return port

    async def close(self) -> None:
        """Accept nothing more, and close all connections whose handshake is not finished."""
        loop = asyncio.get_running_loop()
        sockets, self._sockets = self._sockets, []
        for listener in sockets:
            loop.remove_reader(listener.fileno())
            listener.close()
        for handshake in [*self._handshakes]:
            self._replace(handshake, "the collector ends")
        await asyncio.gather(*self._tasks)
        for board in self._boards.values():
            for _, timer in board.open:
                timer.cancel()

    def requested(self, board: str, protocol: object) -> None:
        """Take note that a connection of a board has begun a request."""
        for own, timer in self._boards[board].open if board in self._boards else ():
            if own is protocol:
                timer.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_RESOURCES:
                    self._refusals.add(
                        f"this machine has no more of it: {error.strerror}", "boards"
                    )
                    self._pause(listener)
                return
            sender = str(address[0])
            handshake = _Handshake(connection, sender, network_of(sender))
            self._make_room(handshake.network)
            self._handshakes[handshake] = None
            task = asyncio.get_running_loop().create_task(self._shake_hands(handshake))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())

        def resume() -> None:
            if listener in self._sockets:
                loop.add_reader(listener.fileno(), self._accept, listener)

        loop.call_later(_PAUSE_S, resume)

    def _make_room(self, network: str) -> None:
        same = [one for one in self._handshakes if one.network == network]
        if len(same) >= self._limits.handshakes_of_address:
            most = self._limits.handshakes_of_address
            self._replace(
                same[0], f"there were {most} newer ones of its address without a certificate"
            )
        elif len(self._handshakes) >= self._limits.handshakes:
            most = self._limits.handshakes
            # Of the address with the most: a few senders with many connections do not close the
            # only one of a board, however long its handshake takes.
            counts = Counter(one.network for one in self._handshakes)
            busiest = max(counts.values())
            oldest = next(one for one in self._handshakes if counts[one.network] == busiest)
            self._replace(oldest, f"there were {most} others without a certificate")

    def _replace(self, handshake: _Handshake, why: str) -> None:
        handshake.replaced = why
        del self._handshakes[handshake]
        # The handshake ends with an error, and closes the connection.
        with suppress(OSError):
            handshake.connection.shutdown(socket.SHUT_RDWR)

    async def _shake_hands(self, handshake: _Handshake) -> None:
        loop = asyncio.get_running_loop()
        try:
            # TLS needs much memory, so it begins only when there is something to read.
            await self._first_byte(handshake.connection)
            transport, protocol = await loop.connect_accepted_socket(
                self._server,
                handshake.connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
            )
        except OSError as error:
            handshake.connection.close()
            if self._sockets:
                self._refusals.add(handshake.replaced or self._why(error), handshake.sender)
            self._collect_garbage()
            return
        finally:
            self._handshakes.pop(handshake, None)
        assert isinstance(protocol, RequestHandler)
        self._admit(transport, protocol, handshake.sender)

    async def _first_byte(self, connection: socket.socket) -> None:
        """Wait for the first byte, and leave it there.

        Raises:
            OSError: there is none.
            _NotTlsError: it is not that of TLS.
        """
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def wake() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(connection.fileno(), wake)
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                await readable
        except TimeoutError:
            raise ConnectionAbortedError from None
        finally:
            loop.remove_reader(connection.fileno())
        first = connection.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionResetError
        if first != _TLS_HANDSHAKE:
            raise _NotTlsError

    def _collect_garbage(self) -> None:
        """Free the memory of failed handshakes.

        Their objects refer to each other, and Python counts objects, not bytes, before it looks for
        such ones by itself.
        """
        self._failures += 1
        if self._failures % _COLLECTED_AT_ONCE == 0:
            gc.collect()

    def _why(self, error: OSError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return f"TLS: {(error.reason or 'unknown error').lower().replace('_', ' ')}"
        if isinstance(error, _NotTlsError):
            return "it is not TLS"
        if isinstance(error, ConnectionAbortedError):
            return f"no TLS handshake within {self._limits.handshake_s:g} s"
        return "it was closed before the end of the TLS handshake"

    def _admit(self, transport: asyncio.Transport, protocol: RequestHandler, sender: str) -> None:
        name = board_of(transport)
        if len(self._server.connections) > self._limits.boards:
            self._refusals.add(f"there were {self._limits.boards} others of boards", sender)
            transport.abort()
            return
        board = self._boards.setdefault(name, _Board())
        board.forget_closed()
        if len(board.open) >= self._limits.of_board:
            oldest, timer = board.open.pop(0)
            timer.cancel()
            if oldest.transport is not None:
                oldest.transport.abort()
            most = self._limits.of_board
            self._refusals.add(
                f"there were {most} newer ones with its certificate ({name})", sender
            )

        def silent() -> None:
            if not transport.is_closing():
                within = f"{self._limits.first_request_s:g} s"
                self._refusals.add(f"no request within {within} ({name})", sender)
                transport.abort()

        timer = asyncio.get_running_loop().call_later(self._limits.first_request_s, silent)
        board.open.append((protocol, timer))


def board_of(transport: asyncio.BaseTransport) -> str:
    """Return the name in the certificate of the other side."""
    certificate = transport.get_extra_info("peercert") or {}
    names = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))


def network_of(address: str) -> str:
    """Return the unit in which an address is counted: an IPv4 address, or a /64 of IPv6.

    Whoever has one address of IPv6 usually has all 2⁶⁴ of its network.
    """
    plain = address.partition("%")[0]
    if ":" not in plain:
        return plain
    if mapped := IPv6Address(plain).ipv4_mapped:
        return str(mapped)
    return str(ip_network((plain, 64), strict=False))


def raise_file_limit(wanted: int = LIMITS.boards + LIMITS.handshakes + _OTHER_FILES) -> int:
    """Raise the limit of open files as far as it is allowed; return how many boards fit into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    room = soft if soft != resource.RLIM_INFINITY else wanted
    return max(16, min(LIMITS.boards, room - LIMITS.handshakes - _OTHER_FILES))
