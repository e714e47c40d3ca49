"""Our tokenizers against transformers' own, token for token and offset for offset, on nasty texts.

Where transformers 5 ignores a setting (`clean_text`, `wordpieces_prefix`, `never_split`), the expected tokens
are written out.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from support.laid_out import ids_of, lay_out, types_of
from support.nasty_texts import TEXTS, VOCAB
from tokenizers import BertWordPieceTokenizer
from transformers import AutoTokenizer

from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
LONG = 100_000
FAMILIES = {"bert": "Bert", "distilbert": "DistilBert", "mobilebert": "MobileBert"} | {
    "squeezebert": "SqueezeBert",
    "convbert": "ConvBert",
}
KINDS = ("vocab.txt", "tokenizer.json")


def write(
    folder: Path, kind: str, config: dict[str, Any] | None = None, model_type: str = "bert", **files: Any
) -> Path:
    """Writes a tokenizer; the settings inside tokenizer.json are not those of the configuration."""
    if kind == "vocab.txt":
        (folder / kind).write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    else:
        BertWordPieceTokenizer(
            {token: index for index, token in enumerate(VOCAB)}, lowercase=False, clean_text=False
        ).save(str(folder / kind))
    contents = {"config": {"model_type": model_type}, "tokenizer_config": config, **files}
    for name, content in contents.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def assert_equal(folder: Path) -> None:
    """Ids, types and offsets of texts and of pairs."""
    ours, theirs = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)
    for batch in (TEXTS, PAIRS):
        first, second = (batch, None) if batch is TEXTS else zip(*batch, strict=True)
        expected = theirs(
            list(first),
            None if second is None else list(second),
            truncation=True,
            max_length=LONG,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        found = ours.encode_batch(batch)
        assert [encoding.ids for encoding in found] == expected["input_ids"]
        assert [encoding.offsets for encoding in found] == expected["offset_mapping"]
        assert [encoding.type_ids for encoding in found] == expected["token_type_ids"]


SETTINGS: dict[str, dict[str, Any] | None] = {
    "no configuration": None,
    "none stated": {},
    "cased": {"do_lower_case": False},
    "uncased": {"do_lower_case": True},
    "accents kept": {"strip_accents": False},
    "accents stripped": {"strip_accents": True},
    "cased, accents stripped": {"do_lower_case": False, "strip_accents": True},
    "Chinese kept together": {"tokenize_chinese_chars": False},
    "cased, Chinese kept together": {"do_lower_case": False, "tokenize_chinese_chars": False},
    "other names": {"cls_token": "<ent>", "mask_token": "[unused1]"},
    "token objects": {
        "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True, "normalized": True},
        "unk_token": {"__type": "AddedToken", "content": "[UNK]", "normalized": False},
    },
    "more special tokens": {"additional_special_tokens": ["<ent>", "HELLO", "<new>"]},
    "extra special tokens": {"extra_special_tokens": ["<ent>"], "own_token": "HELLO"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_settings_are_those_of_transformers(
    tmp_path: Path, kind: str, settings: dict[str, Any] | None
) -> None:
    """Each alone, from either file."""
    assert_equal(write(tmp_path, kind, settings))


@pytest.mark.parametrize("fast", ["", "Fast"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_familys_class_is_the_same_tokenizer(tmp_path: Path, kind: str, family: str, fast: str) -> None:
    """With and without the class's name."""
    name = f"{FAMILIES[family]}Tokenizer{fast}"
    config = {"tokenizer_class": name, "do_lower_case": False}
    assert_equal(write(tmp_path, kind, config, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bare_vocabulary_has_its_familys_defaults(tmp_path: Path, family: str) -> None:
    """Some of the originals have nothing else."""
    assert_equal(write(tmp_path, "vocab.txt", None, family))


@pytest.mark.parametrize("max_length", [4, 5, 16, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_cuts_are_those_of_transformers(tmp_path: Path, kind: str, max_length: int) -> None:
    """Texts and pairs; the longer of a pair first."""
    folder = write(tmp_path, kind, {"do_lower_case": True})
    theirs = AutoTokenizer.from_pretrained(folder)
    for pairs in (None, TEXTS[::-1]):
        expected = theirs(TEXTS, pairs, truncation=True, max_length=max_length, return_token_type_ids=True)
        found = lay_out(folder, TEXTS, pairs, max_length=max_length)
        assert ids_of(found) == expected["input_ids"]
        assert types_of(found) == expected["token_type_ids"]


def test_a_generic_class_is_the_file_as_it_is(tmp_path: Path) -> None:
    """Its own normalization counts."""
    assert_equal(write(tmp_path, "tokenizer.json", {"tokenizer_class": "PreTrainedTokenizerFast"}))


END = len(VOCAB)
DECODER = {
    str(VOCAB.index("<ent>")): {"content": "<ent>", "lstrip": True, "normalized": False, "special": False},
    str(END): {"content": "<NEW>", "normalized": True, "special": False},
    str(END + 1): {"content": "<new>", "normalized": False, "special": True, "rstrip": True},
}
FILES: dict[str, dict[str, Any]] = {
    "added_tokens.json": {"added_tokens": {"<new>": END, "<ent>": VOCAB.index("<ent>")}},
    "added special": {
        "added_tokens": {"<new>": END},
        "special_tokens_map": {"additional_special_tokens": ["<new>"]},
    },
    "added special of the configuration": {
        "added_tokens": {"<new>": END},
        "tokenizer_config": {"additional_special_tokens": ["<new>"]},
    },
    "special_tokens_map.json": {
        "special_tokens_map": {
            "cls_token": "<ent>",
            "mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": True, "normalized": False},
            "additional_special_tokens": ["HELLO"],
        }
    },
    "added_tokens_decoder": {"tokenizer_config": {"added_tokens_decoder": DECODER}},
    "added_tokens_decoder rules": {
        "tokenizer_config": {"added_tokens_decoder": DECODER},
        "special_tokens_map": {"cls_token": "<ent>"},
        "added_tokens": {"HELLO": VOCAB.index("HELLO")},
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_added_tokens_are_those_of_transformers(tmp_path: Path, kind: str, files: dict[str, Any]) -> None:
    """From whichever file states them."""
    others = {name: content for name, content in files.items() if name != "tokenizer_config"}
    assert_equal(write(tmp_path, kind, files.get("tokenizer_config", {}), **others))


def test_an_added_token_that_cannot_have_its_id_is_an_error(tmp_path: Path) -> None:
    """Transformers gives it another one, which the model has another meaning for."""
    folder = write(tmp_path, "vocab.txt", {}, added_tokens={"<new>": END + 5})
    with pytest.raises(TokenizerError, match=f"added token '<new>': expected id {END + 5}, got {END}"):
        load_tokenizer(str(folder))


def tokens(folder: Path, text: str) -> list[str]:
    return list(load_tokenizer(str(folder)).encode(text, add_special_tokens=False).tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_is_not_to_be_cleaned_keeps_control_characters(tmp_path: Path, kind: str) -> None:
    """Transformers 5 ignores clean_text, and cleans; its earlier fast tokenizers did not."""
    for name, clean, expected in (("a", True, ["the", "of"]), ("b", False, ["[UNK]", "of"])):
        (tmp_path / name).mkdir()
        assert tokens(write(tmp_path / name, kind, {"clean_text": clean}), "th\u0000e of") == expected


def test_another_prefix_begins_the_later_pieces(tmp_path: Path) -> None:
    """Transformers 5 ignores wordpieces_prefix, and knows no such piece."""
    folder = write(tmp_path, "vocab.txt", {"wordpieces_prefix": "@@"})
    (folder / "vocab.txt").write_text("\n".join([*VOCAB, "@@ing"]) + "\n", encoding="utf-8")
    assert tokens(folder, "thinking") == ["think", "@@ing"]


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_are_never_split_stay_whole(tmp_path: Path, kind: str) -> None:
    """Neither lower-cased nor cut, if the vocabulary has them; only slow tokenizers did this."""
    folder = write(tmp_path, kind, {"never_split": ["HELLO", "<ent>", "Absent"]})
    assert tokens(folder, "the HELLO (HELLO) <ent>") == ["the", "HELLO", "(", "HELLO", ")", "<ent>"]
    assert "HELLO" not in tokens(folder, "hello HELLOS Absent")


@pytest.mark.parametrize(("stated", "cased"), [({}, True), ({"do_lower_case": True}, False)])
def test_convberts_class_obeys_its_settings_like_the_others(
    tmp_path: Path, stated: dict[str, Any], cased: bool
) -> None:
    """Transformers 5 takes its tokenizer.json as it is, and ignores a stated do_lower_case; 4 obeyed it."""
    folder = write(tmp_path, "tokenizer.json", {"tokenizer_class": "ConvBertTokenizer"} | stated)
    assert ("HELLO" in tokens(folder, "The HELLO")) == cased


def test_a_folder_that_is_written_again_has_its_new_tokenizer(tmp_path: Path) -> None:
    """Within one program too: a notebook saves a checkpoint after each change of it."""
    for word in ("water", "house", "film"):
        (tmp_path / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", word)))
        assert load_tokenizer(str(tmp_path)).token_to_id(word) == 4
    assert load_tokenizer(str(tmp_path)) is load_tokenizer(str(tmp_path))
