"""Texts to ids: exactly the tokenizer's own, each distinct text once, and null where there is no text."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.laid_out import ids_of, lay_out, spec_of, text_block, tokenized, types_of
from transformers import AutoTokenizer

from corpusmill.pipeline.blocks import Reject, UnitBlock, failed_block
from corpusmill.pipeline.encode.items import distinct_items
from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.input.units import Unit
from corpusmill.pipeline.spec import TokenizerSpec
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, model_max_length, tokenizer_digest

UNIT = Unit("u-00000-000000000-8", "/in", 0, 0)
TEXTS = [
    "The World of Numbers",
    "",
    "café à la carte, naïve",
    "日本 text",
    "[MASK] is [UNK]",
    "tab\tand\u200bzero\0nul",
    "x" * 200,
    "word " * 100,
    "of the " * 70,
    "don't-stop.now",
    "\u0130stanbul",
    "😀 hello",
]


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> Path:
    return checkpoint("embedding")


def rows_of(block: UnitBlock, spec: TokenizerSpec, column: str = "text") -> Any:
    """The ids of each row, without special tokens."""
    ids = block.tables[f"{spec.key}.{column}"]["ids"].to_pylist()
    return [None if number is None else ids[number] for number in block.inputs[column].to_pylist()]


def copy(folder: Path, tmp_path: Path, *without: str, **settings: Any) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    for name in without:
        (tmp_path / "copy" / name).unlink()
    path = tmp_path / "copy" / "tokenizer_config.json"
    if path.exists():
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "without", [(), ("tokenizer.json",), ("vocab.txt",)], ids=["both", "vocab.txt", "tokenizer.json"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": False, "strip_accents": True},
    ],
    ids=str,
)
def test_ids_are_those_of_transformers(
    folder: Path, tmp_path: Path, without: tuple[str, ...], settings: dict[str, Any]
) -> None:
    """From `tokenizer.json`, or a bare vocabulary; the configuration overrules both."""
    there = copy(folder, tmp_path, *without, **settings)
    theirs = AutoTokenizer.from_pretrained(there)
    for max_length in (3, 16, 17, 1000):
        expected = theirs(TEXTS, truncation=True, max_length=max_length)["input_ids"]
        assert ids_of(lay_out(there, TEXTS, max_length=max_length)) == expected


@pytest.mark.parametrize("without", [(), ("tokenizer.json",)], ids=["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("max_length", [4, 7, 16, 17, 128, 1000])
def test_pairs_are_those_of_transformers(
    folder: Path, tmp_path: Path, without: tuple[str, ...], max_length: int
) -> None:
    """Ids, types, and which of the two is cut first."""
    there = copy(folder, tmp_path, *without)
    first, second = zip(*((one, other) for one in TEXTS for other in TEXTS), strict=True)
    expected = AutoTokenizer.from_pretrained(there)(
        list(first), list(second), truncation=True, max_length=max_length
    )
    found = lay_out(there, first, second, max_length=max_length)
    assert ids_of(found) == expected["input_ids"]
    assert types_of(found) == expected["token_type_ids"]


def test_a_text_is_cut_at_max_length(folder: Path) -> None:
    """The special tokens count, and the last one stays."""
    whole = ids_of(lay_out(folder, ["word " * 5, "word " * 100], max_length=10))
    assert [len(row) for row in whole] == [7, 10]
    assert whole[1][-1] == whole[0][-1] == load_tokenizer(str(folder)).token_to_id("[SEP]")


def test_nulls_stay_null_and_empty_texts_get_special_tokens(folder: Path) -> None:
    """A row without text has no number; a text without characters is laid out as an empty text."""
    spec = spec_of(folder)
    found = tokenized(text_block([None, "", None, "the", None]), spec)
    assert rows_of(found, spec) == [None, [], None, [172], None]
    sequences = lay_out(folder, [None, "", None, "the", None], max_length=16)
    assert ids_of(sequences) == [[2, 3], [2, 172, 3]]


def test_a_pair_lacking_a_part_is_null(folder: Path) -> None:
    """Half a question is none."""
    sequences = lay_out(folder, ["the", None, "the", None], ["of", "of", None, None], max_length=16)
    assert (sequences.item.tolist(), len(ids_of(sequences))) == ([0], 1)


@pytest.mark.parametrize("texts", [[], [None], [None, None, None]], ids=["no row", "one null", "nulls"])
def test_units_without_any_text(folder: Path, texts: list[None]) -> None:
    """Keep their rows and types."""
    spec = spec_of(folder, offsets=True)
    found = tokenized(text_block(texts), spec)
    assert rows_of(found, spec) == texts
    assert found.inputs.schema.types == [pa.int32()]
    ints, bools = pa.list_(pa.int32()), pa.list_(pa.bool_())
    assert found.tables[f"{spec.key}.text"].schema.types == [ints, ints, ints, bools]
    assert found.tokens == {spec.key: 0}
    assert len(lay_out(folder, texts, max_length=16)) == 0


def test_two_tokenizations_share_a_block(folder: Path) -> None:
    """Each under its own key, with its own count; everything else of the block is untouched."""
    plain, prompted = spec_of(folder), spec_of(folder, prompt="the of ")
    kept = pa.table({"id": [0, 1, 2]})
    rejects = (Reject(9, "why", "raw"),)
    before = UnitBlock(UNIT, kept, text_block(["word " * 20, None, "the"]).inputs, rejects, 4, True)
    after = tokenized(before, plain, prompted)
    assert set(after.tables) == {f"{plain.key}.text", f"{prompted.key}.text"}
    assert after.tokens == {plain.key: 21, prompted.key: 25}
    assert rows_of(after, prompted)[2] == [*rows_of(tokenized(text_block(["the of"]), plain), plain)[0], 172]
    assert after.summary().tokens == after.tokens
    assert (after.unit, after.kept, after.rejects, after.rows_read, after.last, after.rows) == (
        before.unit,
        before.kept,
        before.rejects,
        before.rows_read,
        before.last,
        before.rows,
    )


@pytest.mark.parametrize("deduplicate", [True, False])
def test_equal_texts_are_tokenized_once(folder: Path, deduplicate: bool) -> None:
    """Unless told otherwise; each row points to its own text's tokens either way."""
    spec = spec_of(folder)
    texts = ["the of", None, "word", "the of", "the of", "word"]
    found = tokenized(text_block(texts), spec, deduplicate=deduplicate)
    assert found.tables[f"{spec.key}.text"].num_rows == (2 if deduplicate else 5)
    assert found.tokens == {spec.key: 3 if deduplicate else 8}
    each = {text: rows_of(tokenized(text_block([text]), spec), spec)[0] for text in texts}
    assert rows_of(found, spec) == [each[text] for text in texts]


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_more_texts_than_one_call_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """Order and nulls survive the seams."""
    spec = spec_of(folder, limit=limit)
    texts = [None if i % 7 == 3 else f"{i} the" for i in range(50)]
    whole = rows_of(tokenized(text_block(texts), spec), spec)
    monkeypatch.setattr("corpusmill.pipeline.tokenize.tokens.BATCH", 8)
    assert rows_of(tokenized(text_block(texts), spec), spec) == whole


def test_ids_are_one_flat_array(folder: Path) -> None:
    """Without gaps for the nulls: sequences take them as they are."""
    spec = spec_of(folder)
    table = tokenized(text_block(["the", None, "of the"]), spec).tables[f"{spec.key}.text"]
    column = table["ids"].combine_chunks()
    assert np.asarray(column.offsets).tolist() == [0, 1, 3]
    assert len(column.values) == 3


def test_a_failed_block_passes_unchanged(folder: Path) -> None:
    """There is nothing to tokenize in it."""
    failed = failed_block(UNIT, "gone")
    assert tokenized(failed, spec_of(folder)) is failed


def test_a_folder_without_tokenizer_says_what_was_expected(tmp_path: Path) -> None:
    """Both names."""
    with pytest.raises(
        TokenizerError, match=r"expected tokenizer\.json or vocab\.txt, found neither; save the tokenizer"
    ):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", '{"model": 1}'),
        ("vocab.txt", "a\nb\n"),
        ("vocab.txt", ""),
    ],
)
def test_damaged_tokenizer_files_name_the_folder(tmp_path: Path, name: str, content: str) -> None:
    """Never the exception of a library."""
    (tmp_path / name).write_text(content)
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        load_tokenizer(str(tmp_path))


def test_a_damaged_configuration_names_the_file(folder: Path, tmp_path: Path) -> None:
    """With what was expected."""
    there = copy(folder, tmp_path)
    (there / "tokenizer_config.json").write_text("{'a'}")
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: expected JSON"):
        model_max_length(str(there))


def test_a_vocabulary_without_a_special_token_gets_no_id_for_it(folder: Path, tmp_path: Path) -> None:
    """An id beyond the vocabulary would be one beyond the model's embeddings."""
    there = copy(folder, tmp_path, "tokenizer.json")
    words = (there / "vocab.txt").read_text().replace("[MASK]", "[gone]")
    (there / "vocab.txt").write_text(words)
    found = load_tokenizer(str(there)).encode("the [MASK] of").ids
    assert max(found) < len(words.split())


@pytest.mark.parametrize(
    ("stated", "limit"), [(512, 512), (512.0, 512), (10**30, None), (None, None), ("512", None), (0, None)]
)
def test_the_stated_limit_counts_if_it_is_one(
    folder: Path, tmp_path: Path, stated: Any, limit: int | None
) -> None:
    """Configurations write "none" as a huge number."""
    assert model_max_length(str(copy(folder, tmp_path, model_max_length=stated))) == limit


def test_a_digest_tells_tokenizers_apart(folder: Path, tmp_path: Path) -> None:
    """Equal files make one tokenization; another setting makes another."""
    before = tokenizer_digest(str(folder))
    there = copy(folder, tmp_path)
    (there / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    assert tokenizer_digest(str(there)) == before
    (there / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert tokenizer_digest(str(there)) != before


def test_models_that_differ_in_length_share_a_tokenization() -> None:
    """Its key is a matter of the tokenizer and the prompt; joined, it serves both."""
    one = TokenizerSpec("a", "d" * 64, "a", limit=16)
    other = TokenizerSpec("b", "d" * 64, "b", columns=("text", "text_pair"), limit=17, offsets=True)
    assert one.key == other.key
    assert one.key != TokenizerSpec("a", "e" * 64, "a").key
    assert one.key != TokenizerSpec("a", "d" * 64, "a", prompt="query: ").key
    for joined in (one.joined(other), other.joined(one)):
        assert set(joined.columns) == {"text", "text_pair"}
        assert (joined.limit, joined.offsets, joined.key) == (17, True, one.key)
    assert one.joined(TokenizerSpec("a", "d" * 64, "a", limit=None)).limit is None


WORD = st.none() | st.integers(0, 30)
LARGE = {"texts": pa.large_string(), "lists": pa.list_(pa.large_string())}
SECOND = {"texts": WORD, "lists": st.none() | st.lists(st.integers(0, 9), max_size=3)}


@pytest.mark.parametrize("kind", SECOND)
@pytest.mark.parametrize("prompt", ["", "the "])
@settings(derandomize=True, deadline=None, max_examples=50)
@given(data=st.data(), limit=st.none() | st.integers(1, 6), deduplicate=st.booleans())
def test_of_a_pair_that_is_cut_on_both_sides_it_is_known_which_is_longer(
    folder: Path, kind: str, prompt: str, data: st.DataObject, limit: int | None, deduplicate: bool
) -> None:
    """Of single texts and each text of a list; of others they are what is kept. The first has the prompt."""
    rows = data.draw(st.lists(st.tuples(WORD, SECOND[kind]), max_size=6))
    first = [None if count is None else "of " * count for count, _ in rows]
    listed = [second if second is None or kind == "lists" else [second] for _, second in rows]
    texts = [None if counts is None else ["of " * count for count in counts] for counts in listed]
    second = (
        pa.array(texts, pa.list_(pa.string()))
        if kind == "lists"
        else pa.array([one and one[0] for one in texts], pa.string())
    )
    block = text_block(first)
    block = replace(block, inputs=block.inputs.append_column("text_pair", second.cast(LARGE[kind])))
    spec = spec_of(folder, columns=("text", "text_pair"), limit=limit, lengths=True, prompt=prompt)
    found = tokenized(block, spec, deduplicate=deduplicate)
    items = distinct_items(found, spec.key, spec.columns)
    for (count, _), counts, item in zip(rows, listed, items.of_row.tolist(), strict=True):
        if item < 0:
            continue
        table = items.tables["text_pair"]
        text, other = (int(items.rows[name][item]) for name in spec.columns)
        others = table.lists.take(np.array([other])).values.tolist() if kind == "lists" else [other]
        whole = count + bool(prompt)
        for number, beside in zip(others, counts, strict=True):
            lengths = int(items.text.lengths[text]), int(table.lengths[number])
            if limit is not None and min(whole, beside) >= limit:
                # A text may be counted further than this partner needs, where another one needs it.
                assert min(lengths) == min(whole, beside)
                assert np.sign(lengths[0] - lengths[1]) == np.sign(whole - beside)
                assert all(length <= real for length, real in zip(lengths, (whole, beside), strict=True))
            else:
                assert [min(length, limit or 99) for length in lengths] == [
                    min(length, limit or 99) for length in (whole, beside)
                ]
