"""Of a long text only a beginning is tokenized where only its first tokens count: those of the whole text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.laid_out import spec_of, text_block, tokenized
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from corpusmill.pipeline.tokenize import early_cut
from corpusmill.pipeline.tokenize.early_cut import EarlyCut
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

CHARACTERS = "abcdefghijklmnopqrstuvwxyzé日한ж😀_.,'[]<>-"
MISSING = "b"
"""A letter that no word may go on with, but for `##bcd`: a word that is cut after it is unknown."""
VOCABULARY = dict.fromkeys(
    [
        *("[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##bcd", "##the", "new", "hello", "HELLO", "ᄒ"),
        *CHARACTERS,
        *(f"##{c}" for c in CHARACTERS if c != MISSING),
        *("##ᅡ", "##ᆫ", "##\u0301"),
    ]
)
ADDED = {
    "spaces inside": AddedToken("cd x", normalized=False),
    "spaces around": AddedToken(" of the ", normalized=False),
    "normalized": AddedToken("<New Thing>", normalized=True),
    "normalized inside a word": AddedToken("Cd E", normalized=True),
    "strips": AddedToken("[M M]", lstrip=True, rstrip=True, normalized=False),
    "single word": AddedToken("HELLO", single_word=True, normalized=False),
    "single normalized word": AddedToken("hé", single_word=True, normalized=True),
    "ideographs": AddedToken("a日b", normalized=True),
    "long": AddedToken("new york, new york", normalized=False),
    "many pieces": AddedToken("<<a.b.c.d.e.f g>>", normalized=False),
}
NORMALIZERS: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"lowercase": False},
    "accents kept": {"strip_accents": False},
    "not cleaned": {"clean_text": False},
    "ideographs kept together": {"handle_chinese_chars": False},
}
FRAGMENTS = (
    *("the", "of", "new", "york", "hello", "HELLO", "a" * 60, "x" * 97, "ж" * 12, "abcd", "cd x", "<", ">"),
    *(
        "é",
        "e\u0301",
        "e\u0301\u0302\u0323",
        "\u0301",
        "日",
        "日本",
        "한",
        "\u1112\u1161\u11ab",
        "😀",
        "❤\ufe0f",
    ),
    *("\0", "\u200b", "\u00ad", "\ufffd", "\x07", "\t", "\n", "\r", " ", "  ", "\u3000", "\u00a0", "\u2028"),
    *(".", ",", "'", "_", "-", "\u201c", "\u0130", "ß", "[MASK]", "[mask]", "[MASK", "[M M]", "[M", "M]"),
    *(
        "a" * 60 + "bcd x",
        "é" * 60 + "bcd\te",
        "a日b",
        " of the ",
        "<new",
        "<New Thing>",
        "<n\u0301ew\tthing>",
        "Cd E",
        "CD\u0301\u0000 e",
        "hé",
        "b",
    ),
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=80).map("".join)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with a tokenizer of these settings and added tokens, written once."""
    folders: dict[Any, Path] = {}

    def write(normalizer: str = "uncased", *added: str) -> Path:
        if (normalizer, added) not in folders:
            tokenizer = bert(NORMALIZERS[normalizer])
            tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[MASK]"])
            tokenizer.add_tokens([ADDED[name] for name in added])
            folders[normalizer, added] = save(tokenizer, tmp_path_factory.mktemp("tokenizer"))
        return folders[normalizer, added]

    return write


def bert(options: dict[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def first_tokens(folder: Path, texts: list[str], limit: int | None, kept: int | None) -> list[Any]:
    """Ids, places and word beginnings under a limit: of each the first `kept`."""
    spec = spec_of(folder, limit=limit, offsets=True)
    table = tokenized(text_block(texts), spec, deduplicate=False).tables[f"{spec.key}.text"]
    return [[field[:kept] for field in row.values()] for row in table.to_pylist()]


CASES = [
    *((normalizer, ()) for normalizer in NORMALIZERS),
    *(("uncased", (name,)) for name in ADDED),
    *((normalizer, tuple(ADDED)) for normalizer in NORMALIZERS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("normalizer", "added"), CASES, ids=str)
@settings(max_examples=40, derandomize=True, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), limit=st.integers(1, 40))
def test_the_first_tokens_are_those_of_the_whole_text(
    written: Callable[..., Path], normalizer: str, added: tuple[str, ...], texts: list[str], limit: int
) -> None:
    """However short the first attempt is: ids, places and word beginnings."""
    folder = written(normalizer, *added)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(early_cut, "CHARACTERS_PER_TOKEN", 1)
        found = first_tokens(folder, texts, limit, None)
    assert found == first_tokens(folder, texts, None, limit)


@pytest.mark.parametrize(
    ("name", "word", "rest"),
    [("spaces inside", "a" * 60 + "bcd", " x of"), ("normalized inside a word", "é" * 60 + "bcd", "\te of")],
)
def test_an_added_token_that_begins_inside_a_word_leaves_another_word(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, word: str, rest: str
) -> None:
    """One that is unknown, where the prefix ends in a word of many pieces."""
    monkeypatch.setattr(early_cut, "CHARACTERS_PER_TOKEN", 1)
    folder = written("uncased", name)
    assert len(first_tokens(folder, [word], None, None)[0][0]) > 60
    (whole,) = first_tokens(folder, [word + rest], None, 30)
    assert whole[0][0] == 0
    assert first_tokens(folder, [word + rest], 30, None) == [whole]


def test_the_pieces_of_an_added_token_that_was_cut_do_not_count(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the whole text it is one token."""
    monkeypatch.setattr(early_cut, "CHARACTERS_PER_TOKEN", 1)
    folder = written("uncased", "many pieces")
    for before in range(1, 120):
        text = "a-" * before + "<<a.b.c.d.e.f g>> of the"
        for limit in (2 * before, 2 * before + 1, 2 * before + 5):
            assert first_tokens(folder, [text], limit, None) == first_tokens(folder, [text], None, limit)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that a tokenizer is given."""
    given: list[str] = []

    class Watched:
        """A tokenizer that remembers what it was given."""

        def __init__(self, tokenizer: Tokenizer) -> None:
            self._tokenizer = tokenizer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tokenizer, name)

        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            given.extend(texts)
            return self._tokenizer.encode_batch_fast(texts, **options)

    monkeypatch.setattr(
        "corpusmill.pipeline.tokenize.tokens.load_tokenizer",
        lambda folder, **options: Watched(load_tokenizer(folder, **options)),
    )
    return given


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2_000_000,
        "日本語" * 3_000_000,
        "e\u0301a, " * 2_000_000,
        "[MASK]" * 1_700_000,
        "a-" * 5_000_000,
    ],
    ids=["words", "ideographs", "accents", "masks", "punctuation"],
)
def test_of_ten_megabytes_a_page_is_tokenized(
    checkpoint: Callable[..., Path], seen: list[str], text: str
) -> None:
    """What reaches the tokenizer is bounded by the tokens wanted, not by the text."""
    spec = spec_of(checkpoint("embedding"), limit=128)
    block = tokenized(text_block([text]), spec)
    assert len(text) >= 9_000_000
    assert sum(map(len, seen)) < 10_000
    assert block.tokens == {spec.key: 128}


@pytest.mark.parametrize("order", [1, -1])
def test_a_pair_costs_what_its_shorter_text_costs(
    checkpoint: Callable[..., Path], seen: list[str], order: int
) -> None:
    """Both are cut, and which of them is longer decides who keeps the odd token."""
    texts = ["word " * 2_000_000, "word " * 200][::order]
    spec = spec_of(checkpoint("embedding"), columns=("text", "text_pair"), limit=128, lengths=True)
    block = tokenized(text_block([texts[0]], [texts[1]]), spec)
    found = [block.tables[f"{spec.key}.{name}"]["lengths"].to_pylist()[0] for name in ("text", "text_pair")]
    assert found[::order][1] == 200
    assert found[::order][0] > 200
    assert sum(map(len, seen)) < 30_000


@pytest.mark.parametrize("text", ["", "a", "a" * 5000, " " * 5000, "\u0301" * 5000, "\0" * 5000])
def test_a_text_that_cannot_be_cut_is_tokenized_whole(written: Callable[..., Path], text: str) -> None:
    """However few tokens that gives."""
    folder = written()
    assert first_tokens(folder, [text], 5, None) == first_tokens(folder, [text], None, 5)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "model"])
def test_a_tokenizer_of_other_rules_is_given_whole_texts(part: str) -> None:
    """Nothing is known of how its tokens depend on what follows."""
    tokenizer = bert({})
    assert EarlyCut.of(tokenizer) is not None
    other = {
        "normalizer": normalizers.Sequence([normalizers.BertNormalizer(), normalizers.NFC()]),
        "pre_tokenizer": pre_tokenizers.Whitespace(),
        "model": models.BPE(),
    }
    setattr(tokenizer, part, other[part])
    assert EarlyCut.of(tokenizer) is None
