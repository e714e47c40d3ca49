"""Bytes of a possibly compressed file, and its lines, in bounded memory."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import zstandard

from corpusmill.pipeline.errors import InputError

CHUNK = 1 << 20
PACKED_CHUNK = 1 << 16
"""Read at once of a compressed file: what it unpacks to is held in memory."""
MAX_LINE = 64 << 20
"""Longest line, in bytes, that is parsed; a longer one is rejected."""

DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    # The largest window there is: what `zstd --long=31` wrote can be read.
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
DECOMPRESSION_ERRORS = (zlib.error, zstandard.ZstdError, OSError, lzma.LZMAError, EOFError)


def chunks(stream: BinaryIO, compression: str | None, url: str) -> Iterator[bytes]:
    """Yield a stream's decompressed bytes; a damaged or truncated file is an InputError, never a short read.

    Files of several concatenated members (gzip) or frames (zstd) are read to their end.
    """
    if compression is None:
        while chunk := stream.read(CHUNK):
            yield chunk
        return
    try:
        yield from _decompressed(stream, DECOMPRESSORS[compression])
    except DECOMPRESSION_ERRORS as error:
        raise InputError(
            f"{url}: expected a complete {compression} file, got one that is damaged or cut short "
            f"({error}); copy it again or leave it out"
        ) from None


def _decompressed(stream: BinaryIO, new: Callable[[], Any]) -> Iterator[bytes]:
    member, empty = None, True
    while data := stream.read(PACKED_CHUNK):
        empty = False
        # Zeros may pad a file after its last member.
        while data := data if member else data.lstrip(b"\0"):
            member = member or new()
            if out := member.decompress(data):
                yield out
            data = member.unused_data if member.eof else b""
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
