"""Where tokens are in the text: code points of the original, which cut out what each token stands for."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.laid_out import spec_of, text_block, tokenized
from support.tiny_checkpoints import VOCABULARY, write_checkpoint
from transformers import AutoTokenizer, TokenClassificationPipeline

Checkpoints = Callable[..., Path]


def tokens_of(folder: Path, text: str) -> dict[str, Any]:
    spec = spec_of(folder, offsets=True)
    (row,) = tokenized(text_block([text]), spec).tables[f"{spec.key}.text"].to_pylist()
    return dict(row)


def pieces(folder: Path, text: str) -> list[str]:
    """What each token cuts out of the text."""
    row = tokens_of(folder, text)
    return [text[start:end] for start, end in zip(row["starts"], row["ends"], strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  world,\tof", ["The", "world", ",", "of"]),
        ("caf\u00e9 the", ["c", "a", "f", "\u00e9", "the"]),
        ("cafe\u0301 the", ["c", "a", "f", "e\u0301", "the"]),
        ("e\u0301\u0323\u0302a", ["e\u0301\u0323\u0302", "a"]),
        ("the e\u0301", ["the", "e\u0301"]),
        ("\u0301the", ["the"]),
        ("\u65e5\u672c of", ["\u65e5", "\u672c", "of"]),
        ("\ud55c\uad6d\uc5b4 of", ["\ud55c\uad6d\uc5b4", "of"]),
        (
            "\U0001f600 of \U0001f469\u200d\U0001f4bb.",
            ["\U0001f600", "of", "\U0001f469\u200d\U0001f4bb", "."],
        ),
        ("\u2764\ufe0f of", ["\u2764\ufe0f", "of"]),
        ("\u0915\u0941 of", ["\u0915\u0941", "of"]),
        ("\u0e17\u0e35\u0e48 of", ["\u0e17\u0e35\u0e48", "of"]),
        ("\u05e9\u05b8\u05c1 of", ["\u05e9\u05b8\u05c1", "of"]),
        ("the\0of \u200bto", ["the", "o", "f", "to"]),
        ("\u0130s", ["\u0130s"]),
        ("[MASK]s [mask]", ["[MASK]", "s", "[", "m", "a", "s", "k", "]"]),
        ("", []),
        (" \u3000", []),
    ],
    ids=[
        *("words", "composed", "decomposed", "several accents", "last accent", "lone accent", "ideographs"),
        *("Hangul", "emoji", "variation selector", "Devanagari", "Thai", "Hebrew", "control", "dotted I"),
        *("mask", "empty", "blank"),
    ],
)
def test_a_token_cuts_out_what_it_stands_for(checkpoint: Checkpoints, text: str, expected: list[str]) -> None:
    """A mark that was stripped belongs to its letter, whatever its class."""
    assert pieces(checkpoint("embedding"), text) == expected


LETTERS = st.text(
    st.sampled_from("aé\u0301\u0323\ufe0f\u0941日한\u1112\u1161😀 \t,.\0ß\u0130x[]") | st.characters()
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(text=LETTERS)
def test_places_are_those_of_transformers_but_for_stripped_marks(checkpoint: Checkpoints, text: str) -> None:
    """In order and inside the text; what is added to a token is marks alone."""
    folder = checkpoint("embedding")
    theirs = AutoTokenizer.from_pretrained(folder)(
        text, add_special_tokens=False, return_offsets_mapping=True
    )
    row = tokens_of(folder, text)
    assert row["ids"] == theirs["input_ids"]
    places = list(zip(row["starts"], row["ends"], strict=True))
    expected = theirs["offset_mapping"]
    assert [start for start, _ in places] == [start for start, _ in expected]
    for (_, end), (_, their_end), following in zip(
        places, expected, [*row["starts"], len(text)][1:], strict=True
    ):
        assert their_end <= end <= max(following, their_end) <= len(text)
        assert all(is_mark(sign) for sign in text[their_end:end])
        assert end >= following or not is_mark(text[end])


def is_mark(sign: str) -> bool:
    return unicodedata.category(sign) == "Mn"


@settings(derandomize=True, deadline=None)
@given(
    words=st.lists(st.sampled_from(["running", "the", "films", "x", ",", "日", "unbelievable"]), max_size=9),
    limit=st.none() | st.integers(1, 5),
)
def test_a_token_knows_whether_it_begins_a_word(
    checkpoint: Checkpoints, words: list[str], limit: int | None
) -> None:
    """The first piece of each; under a limit too."""
    folder = checkpoint("embedding")
    spec = spec_of(folder, offsets=True, limit=limit)
    table = tokenized(text_block([" ".join(words)]), spec).tables[f"{spec.key}.text"]
    each = [len(tokens_of(folder, word)["ids"]) for word in words]
    expected = [i == 0 for count in each for i in range(count)][:limit]
    assert table["begins"].to_pylist() == [expected]


def test_texts_are_kept_where_spans_are_cut_out_of_them(checkpoint: Checkpoints) -> None:
    """Each distinct one once, and only where places were asked for."""
    folder = checkpoint("embedding")
    block = text_block(["é", None, "the", "é"])
    found = tokenized(block, spec_of(folder, offsets=True))
    assert found.tables["text"]["text"].to_pylist() == ["é", "the"]
    plain = tokenized(block, spec_of(folder))
    assert "text" not in plain.tables
    assert plain.tables[f"{spec_of(folder).key}.text"].column_names == ["ids"]


def test_words_are_the_tokenizers_where_a_token_is_longer_than_its_text(tmp_path: Path) -> None:
    """A Korean syllable without accents is three signs: the reference takes it for a piece of a word."""
    syllable = unicodedata.normalize("NFD", "\ud55c")
    folder = write_checkpoint(tmp_path, "bert", "base", vocab=(*VOCABULARY, syllable))
    text = "good \ud55c water"
    spec = spec_of(folder, offsets=True)
    assert tokenized(text_block([text]), spec).tables[f"{spec.key}.text"]["begins"].to_pylist() == [
        [True] * 3
    ]
    pipeline = object.__new__(TokenClassificationPipeline)
    pipeline.tokenizer = AutoTokenizer.from_pretrained(folder)
    encoding = pipeline.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces_of_theirs = pipeline.gather_pre_entities(
        text, encoding["input_ids"], np.zeros((3, 2)), encoding["offset_mapping"], np.zeros(3), "first"
    )
    assert [piece["is_subword"] for piece in pieces_of_theirs] == [False, True, False]
