"""Reading a tarball as a stream: decompressed by another process, hashed, entry by entry.

A thread reads and hashes the file, and writes it to a decompressor if it is compressed. So a second
core does part of the work. Only a few MiB of the content are in memory.

Format: POSIX.1-2008, utility ``pax``, "ustar Interchange Format" and "pax Interchange
Format"; GNU tar manual, "Basic Tar Format" (long names, base-256 numbers).
"""

import fcntl
import hashlib
import os
import shutil
import stat
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Protocol

from bootwright.core.errors import FailedError, InputError
from bootwright.core.io import process
from bootwright.core.run_log import logged
from bootwright.core.units import MIB
from bootwright.rootfs.tar_entries import (
    EntryRefused,
    TarEntry,
    TarHeader,
    entry_error,
    entry_of,
    sparse_map,
)

TAR_BLOCK = 512
"""Bytes in a tar block; a header is one block, and content is padded to whole blocks."""

# Bytes in a piece that is read ahead. Python threads wait for each other for each piece: with 1 MiB
# a build takes a fifth longer, 8 MiB is not faster (measured).
_READ_AHEAD = 4 * MIB

# Bytes in a pipe to or from a decompressor; the most that Linux allows ordinary users.
_PIPE_SIZE = MIB

# The most bytes in the extended headers of an entry; ext4 can store far less of them.
_EXTENSION_MAX = MIB

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_END = bytes(TAR_BLOCK)
_ZEROS = memoryview(bytes(MIB))
_EXTENSIONS = (b"x", b"g", b"L", b"K")

# zstd needs --long=31 to accept files that were made with --long; xz has one thread by default.
_DECOMPRESSORS: tuple[tuple[bytes, tuple[tuple[str, ...], ...]], ...] = (
    (b"\x1f\x8b", (("pigz", "-dc"), ("gzip", "-dc"))),
    (b"\xfd7zXZ\0", (("xz", "-dc", "-T0"),)),
    (b"\x28\xb5\x2f\xfd", (("zstd", "-dcq", "--long=31"),)),
    (b"BZh", (("bzip2", "-dc"),)),
)


def decompressor(start: bytes) -> tuple[str, ...] | None:
    """Return the decompressor's command for a file with this start; ``None`` if it is uncompressed.

    A skippable frame at the start is of zstd, too: pzstd begins so (RFC 8878, 3.1.2).

    Raises:
        FailedError: this machine lacks the tool.
    """
    if start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50:
        start = b"\x28\xb5\x2f\xfd"
    for magic, commands in _DECOMPRESSORS:
        if start.startswith(magic):
            for command in commands:
                if shutil.which(command[0]):
                    return command
            raise process.missing_tool(commands[-1][0])
    return None


class _Source(Protocol):
    """Reads the bytes of the archive; hashes and counts the bytes of the stored file."""

    hash: "hashlib._Hash"
    done: int

    def next_piece(self) -> memoryview:
        """Return the next bytes, which are valid until the next call; none at the end.

        At the end, the whole file has been hashed.

        Raises:
            FailedError: the file could not be read.
            InputError: it could not be decompressed.
        """
        ...

    def close(self) -> None: ...


class _Plain:
    """An uncompressed file. A thread reads ahead and hashes."""

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file, self._path = file, path
        self.hash = hashlib.sha256()
        self.done = 0
        self._pool = ThreadPoolExecutor(1)
        self._used = memoryview(bytearray(_READ_AHEAD))
        buffers = [memoryview(bytearray(_READ_AHEAD)) for _ in range(3)]
        self._coming = deque(self._pool.submit(self._read, buffer) for buffer in buffers)

    def _read(self, buffer: memoryview) -> tuple[memoryview, int]:
        size = self._file.readinto(buffer)
        self.hash.update(buffer[:size])
        self.done += size
        return buffer, size

    def next_piece(self) -> memoryview:
        self._coming.append(self._pool.submit(self._read, self._used))
        try:
            self._used, size = self._coming.popleft().result()
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return self._used[:size]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Compressed:
    """A compressed file. A thread reads it, hashes it and writes it to the decompressor."""

    def __init__(self, file: FileIO, path: Path, command: tuple[str, ...]) -> None:
        self._file, self._path, self._tool = file, path, command[0]
        self.hash = hashlib.sha256()
        self.done = 0
        env = process.environment()
        self._log = logged("process", self._tool, argv=command, stdin=path)
        self._result = self._log.__enter__()
        self._child = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0, env=env)
        _enlarge(self._child.stdin)
        _enlarge(self._child.stdout)
        self._buffer = memoryview(bytearray(_PIPE_SIZE))
        self._closed = False
        self._pool = ThreadPoolExecutor(1)
        self._feeding = self._pool.submit(self._feed)

    def _feed(self) -> None:
        with _open_pipe(self._child.stdin) as stdin:
            accepts_input = True
            while not self._closed and (chunk := self._file.read(_PIPE_SIZE)):
                self.hash.update(chunk)
                self.done += len(chunk)
                rest = memoryview(chunk)
                while rest and accepts_input:
                    try:
                        rest = rest[stdin.write(rest) :]
                    except BrokenPipeError:
                        # The decompressor needs no more; the rest still has to be hashed.
                        accepts_input = False

    def next_piece(self) -> memoryview:
        piece = self._buffer[: os.readv(_open_pipe(self._child.stdout).fileno(), [self._buffer])]
        if not piece:
            self._check()
        return piece

    def _check(self) -> None:
        """Raise if reading or decompressing has failed."""
        try:
            self._feeding.result()
        except OSError as error:
            raise _unreadable(self._path, error) from error
        stderr = _open_pipe(self._child.stderr).read().decode("utf-8", "replace").strip()
        if self._child.wait():
            last = stderr.splitlines()[-1] if stderr else "no message"
            self._result["stderr"] = stderr
            if "trailing" in last or self._ends_in_zeros():
                raise InputError(
                    f"{self._path}: there is something behind the end of the compressed archive"
                    f" ({self._tool}: {last}); pack it again, or download it again"
                )
            raise InputError(f"{self._path}: damaged or truncated ({self._tool}: {last})")

    def _ends_in_zeros(self) -> bool:
        size = os.fstat(self._file.fileno()).st_size
        tail = os.pread(self._file.fileno(), TAR_BLOCK, max(0, size - TAR_BLOCK))
        return not any(tail)

    def close(self) -> None:
        self._closed = True
        self._child.kill()
        self._pool.shutdown()
        for pipe in (self._child.stdout, self._child.stderr):
            _open_pipe(pipe).close()
        self._result |= {"status": self._child.wait(), "read": self.done}
        self._log.__exit__(None, None, None)


def _unreadable(path: Path, error: OSError) -> FailedError:
    return FailedError(f"{path}: cannot read it: {error.strerror}")


class TarStream:
    """The entries of an open tarball, which can be read once, in order; see :func:`open_tar`."""

    def __init__(self, path: Path, source: _Source, stored_size: int) -> None:
        self._path, self._source = path, source
        self._piece = memoryview(b"")
        self._start = 0
        # Bytes of the current entry in the archive that were not read yet.
        self._content = 0
        # Of a sparse file: its ranges of data that were not read yet, and the place in the file.
        self._ranges: deque[tuple[int, int]] | None = None
        self._position = 0
        # Bytes of extended headers: of the next entry, and of those for all entries.
        self._extended = [0, 0]
        self.stored_size = stored_size
        """Bytes of the stored file."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored file read so far."""
        return self._source.done

    @property
    def sha256(self) -> str:
        """The hash of the stored file, in hexadecimal; complete after the iteration has ended."""
        return self._source.hash.hexdigest()

    def __iter__(self) -> Iterator[TarEntry]:
        """Yield the entries; the content of each can be read until the next one is requested.

        Raises:
            InputError: the archive is damaged or truncated, or an entry is refused.
        """
        defaults: dict[bytes, bytes] = {}
        extended: dict[bytes, bytes] = {}
        while (block := self._take(TAR_BLOCK)) != _END:
            name = extended.get(b"path") or block[:100].partition(b"\0")[0]
            try:
                check_checksum(block)
                flag = block[156:157]
                if flag in _EXTENSIONS:
                    records = self._extension(flag, decode_number(block[124:136]))
                    if flag == b"g":
                        defaults |= records
                    else:
                        extended |= records
                    continue
                header = decode_header(block)
                entry = entry_of(header, defaults | extended if defaults else extended)
                stored = self._content = entry.size if entry.stored is None else entry.stored
                self._ranges = None if entry.stored is None else self._sparse_ranges(entry)
            except EntryRefused as why:
                raise entry_error(self._path, name, why) from None
            extended = {}
            self._extended[False] = 0
            yield entry
            self._ranges = None
            while self._content:
                self.read(_PIPE_SIZE)
            if stored % TAR_BLOCK:
                self._take(-stored % TAR_BLOCK)
        self._check_rest()

    def _check_rest(self) -> None:
        """Read what follows the end of the archive, which is hashed too: it must be zeros."""
        rest = self._piece[self._start :]
        while True:
            if bytes(rest).strip(b"\0"):
                raise InputError(
                    f"{self._path}: there is something behind the end of the archive, such as a"
                    " second archive; make one of both, with tar --concatenate"
                )
            rest = self._source.next_piece()
            if not rest:
                return

    def _sparse_ranges(self, entry: TarEntry) -> deque[tuple[int, int]]:
        """Read the map of a sparse file: decimal numbers, one a line, in whole blocks.

        Format: GNU tar manual, "PAX Format, Version 1.0".
        """
        text, lines = b"", 1
        while text.count(b"\n") < lines:
            if self._content < TAR_BLOCK or len(text) >= _EXTENSION_MAX:
                raise EntryRefused("a damaged map of a sparse file")
            text += self._take(TAR_BLOCK)
            self._content -= TAR_BLOCK
            first = text.partition(b"\n")[0]
            if lines == 1 and b"\n" in text:
                lines += 2 * _sparse_number(first)
        numbers = [_sparse_number(line) for line in text.split(b"\n")[1:lines]]
        self._position = 0
        return deque(sparse_map(numbers, entry.size, self._content))

    def _extension(self, flag: bytes, size: int) -> dict[bytes, bytes]:
        """Return the content of an extended header as pax records."""
        # Those of type g apply to all entries and count in total, others to the next entry only.
        self._extended[flag == b"g"] += size
        if size < 0 or max(self._extended) > _EXTENSION_MAX:
            raise EntryRefused(f"an extended header of {size} bytes, or too many of them")
        data = self._take(size + -size % TAR_BLOCK)[:size]
        if flag in b"xg":
            return pax_records(data)
        return {b"path" if flag == b"L" else b"linkpath": data.rstrip(b"\0")}

    def read(self, limit: int) -> memoryview:
        """Return the next bytes of the current entry's content, at most ``limit``.

        Call it only while there are more; the view is valid until the next call.
        """
        if self._ranges is None:
            return self._stored(limit)
        offset, length = self._ranges[0] if self._ranges else (self._position + limit, 0)
        if self._position < offset:
            view = _ZEROS[: min(limit, offset - self._position)]
        else:
            view = self._stored(min(limit, offset + length - self._position))
            if self._position + len(view) == offset + length:
                self._ranges.popleft()
        self._position += len(view)
        return view

    def _stored(self, limit: int) -> memoryview:
        """Return the next bytes of the current entry as they are in the archive."""
        if self._start == len(self._piece):
            self._next_piece()
        size = min(limit, self._content, len(self._piece) - self._start)
        view = self._piece[self._start : self._start + size]
        self._start += size
        self._content -= size
        return view

    def _take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        data = bytes(self._piece[self._start : self._start + size])
        self._start += len(data)
        while len(data) < size:
            self._next_piece()
            self._start = min(size - len(data), len(self._piece))
            data += self._piece[: self._start]
        return data

    def _next_piece(self) -> None:
        """Get the next piece; an archive that ends here is truncated."""
        self._piece, self._start = self._source.next_piece(), 0
        if not self._piece:
            raise InputError(f"{self._path}: the archive is truncated")


@contextmanager
def open_tar(path: Path) -> Iterator[TarStream]:
    """Open a tarball, uncompressed or compressed by gzip, xz, zstd or bzip2 (by its first bytes).

    The context may be left before the end of the archive: a decompressor is ended then.

    Raises:
        InputError: it cannot be opened.
        FailedError: the decompressor is missing.
    """
    try:
        file = FileIO(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a file")
        command = decompressor(file.read(8))
        file.seek(0)
        source = _Compressed(file, path, command) if command else _Plain(file, path)
        try:
            yield TarStream(path, source, status.st_size)
        finally:
            source.close()


def _open_pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    """Return a pipe that Popen has opened; its type also allows ``None``."""
    if pipe is None:
        raise AssertionError("a child without the pipe it was started with")
    return pipe


def _enlarge(pipe: IO[bytes] | None) -> None:
    # For fewer switches between reader and writer. It is optional, and not allowed to every user.
    with suppress(OSError):
        fcntl.fcntl(_open_pipe(pipe), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def check_checksum(block: bytes) -> None:
    """Verify the checksum in a 512-byte header block.

    Raises:
        EntryRefused: it is wrong.
    """
    # It is the sum of all bytes, with its own eight bytes taken as spaces. The low half of Adler-32
    # is that sum plus 1, modulo 65521; it takes a tenth of the time of sum().
    with_spaces = block[:148] + b" " * 8 + block[156:]
    if (decode_number(block[148:156]) + 1) % 65521 != zlib.adler32(with_spaces) & 0xFFFF:
        raise EntryRefused(
            "a header with a wrong checksum; this is not a tarball, or a damaged one"
        )


def decode_header(block: bytes) -> TarHeader:
    """Return the header in a 512-byte block.

    Raises:
        EntryRefused: a number is damaged.
    """
    name, mode, uid, gid, size, mtime, _, flag, link, magic, _, _, major, minor, prefix = (
        _HEADER.unpack(block)
    )
    name = name.partition(b"\0")[0]
    if prefix[0] and magic.startswith(b"ustar\0"):
        name = prefix.partition(b"\0")[0] + b"/" + name
    return TarHeader(
        name,
        decode_number(mode),
        decode_number(uid),
        decode_number(gid),
        decode_number(size),
        decode_number(mtime),
        flag,
        link.partition(b"\0")[0],
        (decode_number(major), decode_number(minor)) if flag in b"34" else (0, 0),
    )


def decode_number(field: bytes) -> int:
    """Return the number in a field of a header: in octal digits or in GNU's base 256.

    Raises:
        EntryRefused: it is neither.
    """
    text = field.strip(b" \0")
    if not text:
        return 0
    if field[0] & 0x80:
        # The top bit means base 256; the other bits are a signed big-endian number.
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    try:
        # int() would also accept signs and underscores.
        return int(text if text.isdigit() else b"damaged", 8)
    except ValueError:
        why = "a header with a damaged number; this is not a tarball, or a damaged one"
        raise EntryRefused(why) from None


def _sparse_number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise EntryRefused("a damaged map of a sparse file")
    return int(text)


def pax_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records (``length key=value``) of a pax extended header.

    Raises:
        EntryRefused: a record is malformed.
    """
    records = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not (space < end <= len(data) and key and equals) or data[end - 1 : end] != b"\n":
            raise EntryRefused("a malformed extended header; the archive is damaged")
        records[key] = value
        position = end
    return records
