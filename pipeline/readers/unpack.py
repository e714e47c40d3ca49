"""Decompression a little at a time: what a packed file unpacks to never stands in memory at once.

COMPRESSIONS is the whole registry: name → how to begin a member, and how to unpack some bytes of it.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator
from typing import Any

import zstandard

CHUNK = 1 << 20
"""Bytes that one step unpacks to."""
ZSTD_INPUT = 1 << 10
"""Bytes of zstd taken in one step, as it knows no other limit: a block of 4 bytes can hold 128 KiB."""

Unpacking = Generator[bytes, None, bytes]
"""Yields what comes out, returns the bytes behind the member's end."""


def _by_zlib(member: Any, data: bytes) -> Unpacking:
    while True:
        out = member.decompress(data, CHUNK)
        yield out
        data = member.unconsumed_tail
        if member.eof:
            return bytes(member.unused_data)
        if not data and len(out) < CHUNK:
            return b""


def _by_needs(member: Any, data: bytes) -> Unpacking:
    yield member.decompress(data, CHUNK)
    while not (member.eof or member.needs_input):
        yield member.decompress(b"", CHUNK)
    return bytes(member.unused_data)


def _by_little(member: Any, data: bytes) -> Unpacking:
    for start in range(0, len(data), ZSTD_INPUT):
        yield member.decompress(data[start : start + ZSTD_INPUT])
        if member.eof:
            return bytes(member.unused_data) + data[start + ZSTD_INPUT :]
    return b""


COMPRESSIONS: dict[str, tuple[Callable[[], Any], Callable[[Any, bytes], Unpacking]]] = {
    "gzip": (lambda: zlib.decompressobj(wbits=31), _by_zlib),
    # The largest window there is: what `zstd --long=31` wrote can be read.
    "zstd": (lambda: zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(), _by_little),
    "bz2": (bz2.BZ2Decompressor, _by_needs),
    # Of xz's own format only: zeros are an empty file of the one before it.
    "xz": (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), _by_needs),
}
ERRORS = (zlib.error, zstandard.ZstdError, OSError, lzma.LZMAError, EOFError)
