"""Texts to ids: exactly the tokenizer's own, cut, and null where there is no text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from corpusmill.pipeline.blocks import Reject, UnitBlock, failed_block
from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.spec import TokenizerSpec
from corpusmill.pipeline.tokens import tokenize
from corpusmill.pipeline.units import Unit
from corpusmill.pipeline.vocabulary import load_tokenizer, model_max_length, tokenizer_digest

Tokenization = Callable[..., TokenizerSpec]
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
    "don't-stop.now",
    "\u0130stanbul",
    "😀 hello",
]


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> Path:
    return checkpoint("embedding")


def block(*texts: str | None, pairs: list[str | None] | None = None) -> UnitBlock:
    columns = {"text": pa.array(texts, pa.large_string())} | (
        {"text_pair": pa.array(pairs, pa.large_string())} if pairs else {}
    )
    inputs = pa.table(columns)
    return UnitBlock(
        UNIT,
        pa.table({"id": list(range(len(texts)))}),
        inputs,
        (Reject(9, "why", "raw"),),
        len(texts) + 1,
        True,
    )


def ids(block: UnitBlock, spec: TokenizerSpec) -> Any:
    return block.inputs[f"{spec.key}.ids"].to_pylist()


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
    expected = AutoTokenizer.from_pretrained(there)(TEXTS, truncation=True, max_length=16)["input_ids"]
    spec = TokenizerSpec(str(there), 16, tokenizer_digest(str(there)), str(there))
    assert ids(tokenize(block(*TEXTS), [spec]), spec) == expected


@pytest.mark.parametrize("without", [(), ("tokenizer.json",)], ids=["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("max_length", [4, 7, 16, 128])
def test_pairs_are_those_of_transformers(
    folder: Path, tmp_path: Path, without: tuple[str, ...], max_length: int
) -> None:
    """Ids, types, and which of the two is cut first."""
    there = copy(folder, tmp_path, *without)
    second = TEXTS[::-1]
    expected = AutoTokenizer.from_pretrained(there)(TEXTS, second, truncation=True, max_length=max_length)
    spec = TokenizerSpec(str(there), max_length, tokenizer_digest(str(there)), str(there))
    found = tokenize(block(*TEXTS, pairs=list(second)), [spec])
    assert ids(found, spec) == expected["input_ids"]
    assert found.inputs[f"{spec.key}.types"].to_pylist() == expected["token_type_ids"]
    assert found.inputs.schema.types == [pa.list_(pa.int32()), pa.list_(pa.int8())]


def test_a_text_is_cut_at_max_length(folder: Path, tokenization: Tokenization) -> None:
    """The special tokens count, and the last one stays."""
    spec = tokenization(folder, 10)
    whole = ids(tokenize(block("word " * 5, "word " * 100), [spec]), spec)
    assert [len(row) for row in whole] == [7, 10]
    assert whole[1][-1] == whole[0][-1] == load_tokenizer(str(folder), 10).token_to_id("[SEP]")


def test_nulls_stay_null_and_empty_texts_get_special_tokens(folder: Path, tokenization: Tokenization) -> None:
    """A row without text has no ids; a text without characters has those of an empty text."""
    spec = tokenization(folder)
    assert ids(tokenize(block(None, "", None, "the", None), [spec]), spec) == [
        None,
        [2, 3],
        None,
        [2, 172, 3],
        None,
    ]


def test_a_pair_lacking_a_part_is_null(folder: Path, tokenization: Tokenization) -> None:
    """Half a question is none."""
    spec = tokenization(folder)
    found = tokenize(block("the", None, "the", None, pairs=["of", "of", None, None]), [spec])
    assert [row is None for row in ids(found, spec)] == [False, True, True, True]
    assert found.inputs[f"{spec.key}.types"].null_count == 3


@pytest.mark.parametrize("texts", [[], [None], [None, None, None]], ids=["no row", "one null", "nulls"])
def test_units_without_any_text(folder: Path, tokenization: Tokenization, texts: list[None]) -> None:
    """Keep their rows and types."""
    spec = tokenization(folder)
    found = tokenize(block(*texts), [spec])
    assert ids(found, spec) == texts
    assert found.inputs.schema.types == [pa.list_(pa.int32())]
    assert found.tokens == {spec.key: 0}


def test_two_tokenizations_share_a_block(folder: Path, tokenization: Tokenization) -> None:
    """Each under its own key, with its own count; everything else of the block is untouched."""
    short, long = tokenization(folder, 5), tokenization(folder, 50)
    before = block("word " * 20, None, "the")
    after = tokenize(before, [short, long])
    assert after.inputs.column_names == [f"{short.key}.ids", f"{long.key}.ids"]
    assert after.tokens == {short.key: 8, long.key: 25}
    assert after.summary().tokens == after.tokens
    assert (after.unit, after.kept, after.rejects, after.rows_read, after.last, after.rows) == (
        before.unit,
        before.kept,
        before.rejects,
        before.rows_read,
        before.last,
        before.rows,
    )


def test_more_texts_than_one_call_takes(
    folder: Path, tokenization: Tokenization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order and nulls survive the seams."""
    spec = tokenization(folder)
    texts = [None if i % 7 == 3 else f"{i} the" for i in range(50)]
    whole = ids(tokenize(block(*texts), [spec]), spec)
    monkeypatch.setattr("corpusmill.pipeline.tokens.BATCH", 8)
    assert ids(tokenize(block(*texts), [spec]), spec) == whole


def test_ids_are_one_flat_array(folder: Path, tokenization: Tokenization) -> None:
    """Without gaps for the nulls: batches take them as they are."""
    spec = tokenization(folder)
    column = tokenize(block("the", None, "of the"), [spec]).inputs[f"{spec.key}.ids"].combine_chunks()
    assert np.asarray(column.offsets).tolist() == [0, 3, 3, 7]
    assert len(column.values) == 7


def test_a_failed_block_passes_unchanged(folder: Path, tokenization: Tokenization) -> None:
    """There is nothing to tokenize in it."""
    failed = failed_block(UNIT, "gone")
    assert tokenize(failed, [tokenization(folder)]) is failed


@pytest.mark.parametrize(("max_length", "pairs"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_length_without_room_for_text_is_refused(
    folder: Path, tokenization: Tokenization, max_length: int, pairs: bool
) -> None:
    """The tokenizer itself would not cut at all, and hand the model more than it can take."""
    with pytest.raises(
        TokenizerError,
        match=rf"max_length {max_length} leaves no room beside {3 if pairs else 2} special tokens",
    ):
        tokenize(block("the", pairs=["of"] if pairs else None), [tokenization(folder, max_length)])


def test_a_folder_without_tokenizer_says_what_was_expected(tmp_path: Path) -> None:
    """Both names."""
    with pytest.raises(
        TokenizerError, match=r"expected tokenizer\.json or vocab\.txt, found neither; save the tokenizer"
    ):
        load_tokenizer(str(tmp_path), 16)


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
        load_tokenizer(str(tmp_path), 16)


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
    found = load_tokenizer(str(there), 16).encode("the [MASK] of").ids
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
    assert TokenizerSpec("a", 16, before, "a").key != TokenizerSpec("a", 17, before, "a").key
