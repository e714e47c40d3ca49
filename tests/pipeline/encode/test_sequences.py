"""Texts cut and windowed: transformers' own sequences, every token in a window, none too long."""

from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.laid_out import ids_of, lay_out, types_of
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from corpusmill.pipeline.encode.sequences import (
    Frame,
    Layout,
    Pairs,
    Sequences,
    Template,
    cut_longest_first,
    cut_windows,
    row_pairs,
)
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

TEXTS = ["", "the", "the world of numbers and words", "word " * 40, "of a number, " * 25, "naïve 日本 x"]
SHORT = ["", "of", "the end of it"]
LENGTHS = st.lists(st.integers(0, 60), max_size=8)


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> Path:
    return checkpoint("embedding")


@pytest.mark.parametrize(
    ("max_length", "stride"),
    [(3, 0), (8, 0), (8, 3), (9, 1), (9, 3), (16, 7), (17, 7), (64, 31), (200, 50), (1000, 128)],
)
def test_windows_of_texts_are_those_of_transformers(folder: Path, max_length: int, stride: int) -> None:
    """Which return overflowing tokens: the same ids, window for window."""
    expected = AutoTokenizer.from_pretrained(folder)(
        TEXTS, truncation=True, max_length=max_length, stride=stride, return_overflowing_tokens=True
    )
    found = lay_out(folder, TEXTS, max_length=max_length, stride=stride)
    assert ids_of(found) == expected["input_ids"]
    assert found.item.tolist() == expected["overflow_to_sample_mapping"]


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize(("max_length", "stride"), [(16, 0), (16, 3), (17, 3), (64, 20), (1000, 128)])
def test_windows_of_pairs_are_those_of_transformers(
    folder: Path, max_length: int, stride: int, text_first: bool
) -> None:
    """The text is windowed on either side, its short companion is whole in each: ids and types."""
    texts, others = zip(*((text, other) for text in TEXTS for other in SHORT), strict=True)
    first, second = (texts, others) if text_first else (others, texts)
    expected = AutoTokenizer.from_pretrained(folder)(
        list(first),
        list(second),
        truncation="only_first" if text_first else "only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )
    found = lay_out(folder, texts, others, max_length=max_length, stride=stride, text_first=text_first)
    assert ids_of(found) == expected["input_ids"]
    assert types_of(found) == expected["token_type_ids"]
    assert found.item.tolist() == expected["overflow_to_sample_mapping"]


@settings(derandomize=True, deadline=None)
@given(lengths=LENGTHS, rooms=st.lists(st.integers(1, 20), min_size=8, max_size=8), stride=st.integers(0, 30))
def test_windows_cover_every_token_and_share_the_stride(
    lengths: list[int], rooms: list[int], stride: int
) -> None:
    """Exactly the stride, at most half a window; only a text's last window is not full."""
    room = np.array(rooms[: len(lengths)], np.int64)
    windows = cut_windows(np.array(lengths, np.int64), room, stride)
    found = list(zip(windows.of.tolist(), windows.start.tolist(), windows.stop.tolist(), strict=True))
    assert [text for text, _ in groupby(found, key=lambda window: window[0])] == list(range(len(lengths)))
    for text, group in groupby(found, key=lambda window: window[0]):
        own = list(group)
        assert (own[0][1], own[-1][2]) == (0, lengths[text])
        assert all(stop - start == rooms[text] for _, start, stop in own[:-1])
        assert own[-1][2] - own[-1][1] <= rooms[text]
        shared = min(stride, rooms[text] // 2)
        assert all(before[2] - after[1] == shared for before, after in pairwise(own))
        assert all(after[2] > before[2] for before, after in pairwise(own))


@settings(derandomize=True, deadline=None)
@given(lengths=LENGTHS, room=st.integers(1, 20))
def test_without_windows_a_text_is_cut_once(lengths: list[int], room: int) -> None:
    """Its beginning is kept."""
    windows = cut_windows(np.array(lengths, np.int64), np.full(len(lengths), room), None)
    assert windows.of.tolist() == list(range(len(lengths)))
    assert windows.start.tolist() == [0] * len(lengths)
    assert windows.stop.tolist() == [min(length, room) for length in lengths]


@settings(derandomize=True, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20), room=st.integers(1, 30)
)
def test_the_longer_of_a_pair_is_cut_first(pairs: list[tuple[int, int]], room: int) -> None:
    """As the tokenizers library decides, also who keeps the odd token."""
    library = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.enable_truncation(room, strategy="longest_first")
    expected = [library.encode("a " * one, "a " * other).sequence_ids for one, other in pairs]
    first, second = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    found = zip(*(kept.tolist() for kept in cut_longest_first(first, second, room)), strict=True)
    assert list(found) == [(ids.count(0), ids.count(1)) for ids in expected]


FRAMES = {
    "BERT": Template(
        Frame((((101, 0),), ((102, 0),)), (0,)),
        Frame((((101, 0),), ((102, 0),), ((102, 1),)), (0, 1)),
    ),
    "none": Template(Frame(((), ()), (0,)), Frame(((), (), ()), (0, 0))),
}


def ragged(lengths: list[int], first: int) -> Ragged:
    """Lists of these lengths of consecutive numbers."""
    return Ragged.of_lengths(
        np.arange(first, first + sum(lengths), dtype=np.int32), np.array(lengths, np.int64)
    )


def layout(folder: Path, name: str, max_length: int, stride: int | None) -> Layout:
    return Layout(load_tokenizer(str(folder)), FRAMES[name], max_length, stride)


def text_tokens(sequences: Sequences) -> list[list[int]]:
    """The text's tokens of each sequence, found by `at`, `start` and `stop`."""
    lengths = (sequences.stop - sequences.start).tolist()
    return [
        ids[at : at + length]
        for ids, at, length in zip(ids_of(sequences), sequences.at.tolist(), lengths, strict=True)
    ]


@pytest.mark.parametrize("frame", FRAMES)
@settings(derandomize=True, deadline=None)
@given(lengths=LENGTHS, max_length=st.integers(4, 30), stride=st.none() | st.integers(0, 30))
def test_a_sequence_says_where_its_text_is(
    folder: Path, frame: str, lengths: list[int], max_length: int, stride: int | None
) -> None:
    """And is never too long; a text can be laid out more than once, or not at all."""
    texts = ragged(lengths, 1000)
    rows = np.array([i for i in range(len(lengths)) if i % 3], np.int64)[::-1].repeat(2)
    found = layout(folder, frame, max_length, stride).singles(texts, rows)
    assert found.types is None
    assert all(len(ids) <= max_length for ids in ids_of(found))
    for item, start, stop, tokens in zip(
        found.item.tolist(), found.start.tolist(), found.stop.tolist(), text_tokens(found), strict=True
    ):
        offset = int(texts.offsets[rows[item]]) + 1000
        assert tokens == list(range(offset + start, offset + stop))
    with_tokens = [i for i, row in enumerate(rows) if lengths[row] or FRAMES[frame].single.size]
    assert np.unique(found.item).tolist() == with_tokens
    assert len(found.groups) - 1 == len(with_tokens)


def kept_beside(text: int, beside: int, room: int, stride: int | None) -> int:
    """Whole if both fit; else half of the room is left to a shorter text, a quarter to a longer one.

    Truncation leaves a token only, if there is one.
    """
    if text + beside <= room or (stride is None and beside < room):
        return beside
    return min(beside, room - min(text, max(1, room // 2 if beside > text else room // 4)))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("way", ["text first", "text second", "either"])
@settings(derandomize=True, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8),
    max_length=st.integers(5, 30),
    stride=st.none() | st.integers(0, 30),
)
def test_windows_of_pairs_hold_one_side_whole_and_lose_nothing_of_the_other(
    folder: Path, frame: str, way: str, lengths: list[tuple[int, int]], max_length: int, stride: int | None
) -> None:
    """A pair that fits is one sequence; else one side is whole in every window, if there is room for it."""
    texts, others = ragged([pair[0] for pair in lengths], 1000), ragged([pair[1] for pair in lengths], 5000)
    rows = np.arange(len(lengths))
    pairs, made = row_pairs(rows, rows), layout(folder, frame, max_length, stride)
    if way == "either":
        found = made.pairs_in_windows(texts, others, pairs)
    else:
        found = made.pairs_cut_text(texts, others, pairs, text_first=way == "text first")
    room = max_length - FRAMES[frame].pair.size
    seen: dict[int, set[int]] = {}
    for item, ids, start, stop in zip(
        found.item.tolist(), ids_of(found), found.start.tolist(), found.stop.tolist(), strict=True
    ):
        assert len(ids) <= max_length
        sides = [id_ for id_ in ids if 1000 <= id_ < 5000], [id_ for id_ in ids if id_ >= 5000]
        offsets = int(texts.offsets[item]) + 1000, int(others.offsets[item]) + 5000
        windowed = int(way == "either" and lengths[item][1] > lengths[item][0])
        assert sides[windowed] == list(range(offsets[windowed] + start, offsets[windowed] + stop))
        kept = kept_beside(lengths[item][windowed], lengths[item][1 - windowed], room, stride)
        assert sides[1 - windowed] == list(range(offsets[1 - windowed], offsets[1 - windowed] + kept))
        if all(sides):
            assert (ids.index(sides[0][0]) < ids.index(sides[1][0])) == (way != "text second")
        if sum(lengths[item]) <= room:
            assert item not in seen
            assert tuple(map(len, sides)) == lengths[item]
        seen.setdefault(item, set()).update(sides[windowed])
    for item, tokens in seen.items():
        long = lengths[item][int(way == "either" and lengths[item][1] > lengths[item][0])]
        if stride is None:
            short = sum(lengths[item]) - long
            long = min(long, room - kept_beside(long, short, room, stride))
        assert len(tokens) == long


@pytest.mark.parametrize("stride", [None, 2])
def test_parts_of_an_item_are_groups_of_their_own(folder: Path, stride: int | None) -> None:
    """Two questions to one text: windows of each together, in order."""
    texts, others = ragged([20], 1000), ragged([2, 3], 5000)
    zero = np.zeros(2, np.int64)
    pairs = Pairs(zero, np.array([0, 1]), zero, np.array([0, 1]))
    found = layout(folder, "BERT", 13, stride).pairs_cut_text(texts, others, pairs)
    assert found.part.tolist() == sorted(found.part.tolist())
    assert found.part[found.groups[:-1]].tolist() == [0, 1]
    assert found.groups[-1] == len(found)
    assert len(found) == (2 if stride is None else sum(1 + -(-(20 - room) // (room - 2)) for room in (8, 7)))


def test_texts_of_the_job_itself_are_tokenized_without_special_tokens(folder: Path) -> None:
    """Such as questions; none at all is no error."""
    made = layout(folder, "BERT", 16, None)
    tokenizer = load_tokenizer(str(folder))
    texts = ["the of", "", "word"]
    found: Any = made.tokenize(texts)
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert [part.tolist() for part in np.split(found.values, found.offsets[1:-1])] == expected
    assert len(made.tokenize([])) == 0
