"""The bytes and the lines of a file that may be compressed, in bounded memory."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO

import zstandard

from corpusmill.pipeline.errors import InputError

PACKED_CHUNK = 1 << 16
"""Bytes per read of a compressed file."""
ALWAYS_ALLOWED = 1 << 30
MAX_RATIO = 500
"""A file may unpack to ALWAYS_ALLOWED bytes, or to MAX_RATIO times its size; text seldom reaches 100."""
MAX_LINE = 64 << 20
"""Longest line, in bytes, that is parsed; a longer one is rejected."""

CHUNK = 1 << 20
"""Bytes unpacked per step."""
ZSTD_INPUT = 1 << 10
"""Bytes of zstd input per step; its output has no limit of its own: 4 bytes can unpack to 128 KiB."""

Unpacking = Generator[bytes, None, bytes]
"""Yields unpacked bytes, returns the bytes after the end of the member."""


def chunks(stream: BinaryIO, compression: str | None, url: str) -> Iterator[bytes]:
    """Yield a stream's decompressed bytes; a damaged or truncated file is an InputError.

    A file of several members (gzip) or frames (zstd) is read to its end. A file that unpacks to more than
    text can is an InputError too.
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
        # Zeros may follow the last member; a file of zeros only was left by a crash and is an error.
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
    """Yield (bytes with the newline, line without it); None stands for a line longer than MAX_LINE."""
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


# Decompression in small steps, so that the unpacked file is never in memory as a whole.
#
# COMPRESSIONS is the whole registry: name → (start of a member, unpacking of some bytes of it).


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
    # The largest window of zstd: files of `zstd --long=31` can be read.
    "zstd": (
        lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
        _unpack_in_small_steps,
    ),
    "bz2": (bz2.BZ2Decompressor, _unpack_until_input_is_needed),
    # The xz format only: in the older lzma format, zeros are a valid empty file.
    "xz": (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), _unpack_until_input_is_needed),
}
ERRORS = (zlib.error, zstandard.ZstdError, OSError, lzma.LZMAError, EOFError)
