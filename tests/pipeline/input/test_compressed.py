"""Compressed JSONL: every codec, several members in one file, and files that end too early."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable

import pyarrow as pa
import pytest
import zstandard

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.readers import READERS, streams
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile

READER = READERS["jsonl"]
Write = Callable[..., StoredFile]
Read = Callable[..., list[UnitBlock]]
Pack = Callable[[bytes], bytes]
SPEC = InputSpec("text", None, (), pa.schema([("text", pa.string())]))
CODECS: dict[str, Pack] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
codecs = pytest.mark.parametrize(("suffix", "pack"), CODECS.items(), ids=CODECS)


def split_of(file: StoredFile) -> Split:
    return Split(file, "jsonl", 0, 0, file.size, None, 0, 0, 100)


def lines(start: int, stop: int) -> bytes:
    return b"".join(b'{"text": "%d %d"}\n' % (i, i * 7919 % 10007) for i in range(start, stop))


def numbers(blocks: list[UnitBlock]) -> list[int]:
    return [int(text.split()[0]) for block in blocks for text in block.inputs["text"].to_pylist()]


@codecs
def test_a_compressed_file_is_one_split(jsonl: Write, reading: Read, suffix: str, pack: Pack) -> None:
    """Its rows are those of the plain file, in order."""
    file = jsonl(pack(lines(0, 100)), f"in.jsonl.{suffix}")
    (split,) = READER.splits(file, ["text"], ("text",), UnitSizing(30, 1.0, 8))
    assert (split.rows, split.about_rows, split.first_row, READER.count(split)) == (None, 100, 0, 100)
    assert numbers(reading(file, SPEC, rows_per_unit=30)) == list(range(100))
    assert READER.schema(file) == SPEC.schema


@codecs
def test_members_one_after_another_are_one_file(
    jsonl: Write, reading: Read, monkeypatch: pytest.MonkeyPatch, suffix: str, pack: Pack
) -> None:
    """As `cat a.gz b.gz` makes; also with a line that crosses over, an empty member, and any chunk size."""
    content = (
        pack(lines(0, 10)[:-7]) + pack(b"") + pack(lines(0, 10)[-7:] + lines(10, 20)) + pack(lines(20, 21))
    )
    for chunk in (1, 7, 1 << 16):
        monkeypatch.setattr(streams, "PACKED_CHUNK", chunk)
        assert numbers(reading(jsonl(content, f"in.jsonl.{suffix}"), SPEC)) == list(range(21))


@codecs
def test_zeros_after_the_last_member_are_padding(
    jsonl: Write, reading: Read, suffix: str, pack: Pack
) -> None:
    """Tapes, block devices and xz itself pad files."""
    assert numbers(reading(jsonl(pack(lines(0, 9)) + bytes(8), f"in.jsonl.{suffix}"), SPEC)) == list(range(9))


@codecs
@pytest.mark.parametrize("cut", [1, 3, 10, 0.5, -5, -1])
def test_a_file_cut_short_is_an_error(jsonl: Write, suffix: str, pack: Pack, cut: float) -> None:
    """Never a short read that looks like the end; wherever the cut is."""
    content = pack(lines(0, 2000))
    size = int(len(content) * cut) if isinstance(cut, float) else cut % len(content)
    file = jsonl(content[:size], f"in.jsonl.{suffix}")
    with pytest.raises(
        InputError, match=r"in\.jsonl\..*: expected a complete \w+ file, got one that is damaged or cut short"
    ):
        READER.count(split_of(file))


@codecs
def test_an_empty_file_is_cut_short_too(jsonl: Write, suffix: str, pack: Pack) -> None:
    """No compressor writes nothing: an upload was interrupted."""
    with pytest.raises(InputError, match="cut short"):
        READER.splits(jsonl(b"", f"in.jsonl.{suffix}"), ["text"], ("text",), UnitSizing(4, 1.0, 8))


@codecs
@pytest.mark.parametrize("size", [1, 100, 1 << 17])
def test_a_file_of_zeros_is_damaged(jsonl: Write, suffix: str, pack: Pack, size: int) -> None:
    """As a power cut leaves one whose size was noted and whose content was not; not a file without rows."""
    with pytest.raises(InputError, match="damaged or cut short"):
        READER.count(split_of(jsonl(bytes(size), f"in.jsonl.{suffix}")))


@codecs
def test_units_before_the_cut_are_kept(
    jsonl: Write, monkeypatch: pytest.MonkeyPatch, suffix: str, pack: Pack
) -> None:
    """They are whole and right: only then comes the error."""
    monkeypatch.setattr(streams, "PACKED_CHUNK", 64)
    content = pack(lines(0, 3000)) + pack(lines(3000, 6000))
    taken: list[UnitBlock] = []
    with pytest.raises(InputError):
        taken.extend(READER.read(split_of(jsonl(content[:-9], f"in.jsonl.{suffix}")), SPEC, frozenset()))
    assert numbers(taken) == list(range(len(taken) * 100))
    assert len(taken) >= 29
    assert not any(block.last for block in taken)


@codecs
def test_damage_in_the_middle_is_an_error(jsonl: Write, suffix: str, pack: Pack) -> None:
    """Bytes that changed on the way."""
    content = bytearray(pack(lines(0, 3000)))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(255 - byte for byte in content[middle : middle + 40])
    with pytest.raises(InputError, match="damaged"):
        READER.count(split_of(jsonl(bytes(content), f"in.jsonl.{suffix}")))


@codecs
def test_a_plain_file_with_a_compressed_name_is_an_error(jsonl: Write, suffix: str, pack: Pack) -> None:
    """The name decides; the message says what was expected."""
    with pytest.raises(InputError, match=r"expected a complete \w+ file"):
        READER.schema(jsonl(lines(0, 5), f"in.jsonl.{suffix}"))


def test_a_long_zstd_window_is_read(jsonl: Write, reading: Read) -> None:
    """As `zstd --long=31` writes archives of forums and web crawls."""
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = compressor.compress(lines(0, 5)) + compressor.flush()
    assert zstandard.get_frame_parameters(content).window_size == 2**28
    assert numbers(reading(jsonl(content, "in.jsonl.zst"), SPEC)) == list(range(5))


def test_a_skippable_zstd_frame_is_skipped(jsonl: Write, reading: Read) -> None:
    """`pzstd` writes one in front of every frame."""
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    content = b"".join(skippable + CODECS["zst"](lines(i, i + 1)) for i in range(3))
    assert numbers(reading(jsonl(content, "in.jsonl.zst"), SPEC)) == [0, 1, 2]


def test_compression_changes_no_name_but_its_own(jsonl: Write, reading: Read) -> None:
    """Rejects of a compressed file carry their row numbers too."""
    content = lines(0, 6) + b"bad\n" + json.dumps({"text": "7 0"}).encode()
    blocks = reading(jsonl(gzip.compress(content), "in.jsonl.gz"), SPEC)
    assert [(reject.row, reject.raw) for block in blocks for reject in block.rejects] == [(6, "bad")]
    assert numbers(blocks) == [0, 1, 2, 3, 4, 5, 7]
