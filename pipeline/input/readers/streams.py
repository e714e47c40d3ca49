"""Bytes of a possibly compressed file, and its lines, in bounded memory."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO

import zstandard

from corpusmill.pipeline.errors import InputError

PACKED_CHUNK = 1 << 16
"""Read at once of a compressed file."""
ALWAYS_ALLOWED = 1 << 30
MAX_RATIO = 500
"""A file may unpack to FREE bytes, and beyond that to MAX_RATIO times what was read: text seldom has 100."""
MAX_LINE = 64 << 20
"""Longest line, in bytes, that is parsed; a longer one is rejected."""

CHUNK = 1 << 20
"""Bytes that one step unpacks to."""
ZSTD_INPUT = 1 << 10
"""Bytes of zstd taken in one step, as it knows no other limit: a block of 4 bytes can hold 128 KiB."""

Unpacking = Generator[bytes, None, bytes]
"""Yields what comes out, returns the bytes behind the member's end."""


def chunks(stream: BinaryIO, compression: str | None, url: str) -> Iterator[bytes]:
    """Yield a stream's decompressed bytes; a damaged or truncated file is an InputError, never a short read.

    Files of several concatenated members (gzip) or frames (zstd) are read to their end. One that unpacks to
    more than any text does is an InputError too.
    """
    if compression is None:
        while chunk := stream.read(CHUNK):
            yield chunk
        return
    unpacked = 0
    try:
        for piece in _decompressed(stream, compression):
            unpacked += len(piece)
            _check_ratio(stream.tell(), unpacked, url)
            yield piece
    except ERRORS as error:
        raise InputError(
            f"{url}: expected a complete {compression} file, got one that is damaged or cut short "
            f"({error}); copy it again or leave it out"
        ) from None


def _check_ratio(packed: int, unpacked: int, url: str) -> None:
    if unpacked > max(ALWAYS_ALLOWED, MAX_RATIO * packed):
        raise InputError(
            f"{url}: its first {packed} bytes unpack to {unpacked >> 20} MiB, expected at most {MAX_RATIO} "
            "times as many as for any text; unpack and inspect the file, or leave it out"
        )


def _decompressed(stream: BinaryIO, compression: str) -> Iterator[bytes]:
    new, unpack = COMPRESSIONS[compression]
    member, empty = None, True
    while data := stream.read(PACKED_CHUNK):
        # Zeros may pad a file after its last member; nothing but zeros is what a crash leaves of one.
        while data := data if member or empty else data.lstrip(b"\0"):
            member, empty = member or new(), False
            data = yield from unpack(member, data)
            if member.eof:
                member = None
    if empty:
        raise EOFError("it is empty")
    if member is not None:
        raise EOFError("it ends inside the compressed data")


def lines(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield (bytes taken, newline included; the line without it); None stands for a line over MAX_LINE."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for end in ended:
            size += len(end)
            yield size + 1, b"".join((*held, end)) if size <= MAX_LINE else None
            held, size = [], 0
        size += len(rest)
        if size <= MAX_LINE:
            held.append(rest)
        else:
            held = []
    if size:
        yield size, b"".join(held) if size <= MAX_LINE else None


# Decompression a little at a time: what a packed file unpacks to never stands in memory at once.
#
# COMPRESSIONS is the whole registry: name → how to begin a member, and how to unpack some bytes of it.


def _unpack_zlib(member: Any, data: bytes) -> Unpacking:
    while True:
        out = member.decompress(data, CHUNK)
        yield out
        data = member.unconsumed_tail
        if member.eof:
            return bytes(member.unused_data)
        if not data and len(out) < CHUNK:
            return b""


def _unpack_until_input_is_needed(member: Any, data: bytes) -> Unpacking:
    yield member.decompress(data, CHUNK)
    while not (member.eof or member.needs_input):
        yield member.decompress(b"", CHUNK)
    return bytes(member.unused_data)


def _unpack_in_small_steps(member: Any, data: bytes) -> Unpacking:
    for start in range(0, len(data), ZSTD_INPUT):
        yield member.decompress(data[start : start + ZSTD_INPUT])
        if member.eof:
            return bytes(member.unused_data) + data[start + ZSTD_INPUT :]
    return b""


COMPRESSIONS: dict[str, tuple[Callable[[], Any], Callable[[Any, bytes], Unpacking]]] = {
    "gzip": (lambda: zlib.decompressobj(wbits=31), _unpack_zlib),
    # The largest window there is: what `zstd --long=31` wrote can be read.
    "zstd": (
        lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
        _unpack_in_small_steps,
    ),
    "bz2": (bz2.BZ2Decompressor, _unpack_until_input_is_needed),
    # Of xz's own format only: zeros are an empty file of the one before it.
    "xz": (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), _unpack_until_input_is_needed),
}
ERRORS = (zlib.error, zstandard.ZstdError, OSError, lzma.LZMAError, EOFError)
