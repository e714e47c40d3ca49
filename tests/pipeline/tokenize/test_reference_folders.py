"""Folders as people have them, against the tokenizer that the reference loads from the same folder.

Compared are ids, token types and attention of nasty texts and pairs, cut as a job cuts them, and the stated
limit. Where we differ on purpose, the folder is refused or noted by name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import transformers
from support.laid_out import ids_of, lay_out, types_of
from support.named_tests import all_names
from support.nasty_texts import TEXTS, VOCAB
from support.tiny_checkpoints import write_checkpoint
from tokenizers import (
    BertWordPieceTokenizer,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from corpusmill.models import ConfigError
from corpusmill.models.checkpoints.key_check import check_keys, key_notes
from corpusmill.models.checkpoints.key_table import FILES
from corpusmill.models.checkpoints.sentence_modules import TRANSFORMER_FILES
from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.tokenize.early_cut import EarlyCut
from corpusmill.pipeline.tokenize.settings import (
    BERT_CLASSES,
    CLASS_SETTINGS,
    FILE_CLASSES,
    GENERIC_CLASSES,
    SENTENCE_FILES,
    read_settings,
)
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer, model_max_length

LIMITS = (7, 64)
UNLIMITED = 10**9
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}
BERT_NAMES = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
WITH_TYPES = ["input_ids", "token_type_ids", "attention_mask"]
WITHOUT_TYPES = ["input_ids", "attention_mask"]
OWN_CODE = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
OTHER_MASK = [word if word != "[MASK]" else "<mask>" for word in VOCAB]
LINES = "\n".join(VOCAB)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 456\n"


def truncating(direction: str) -> dict[str, Any]:
    """The sections that a tokenizer has which was saved while it truncated and padded."""
    return {
        "truncation": {"direction": direction, "max_length": 6, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 12},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    }


def keys_of(file: str, *treatments: str) -> set[str]:
    rows = FILES[file].keys
    return {key for row in rows for key in row.names if row.treatment in treatments}


IDLE = sorted(keys_of("tokenizer", "without effect"))
ODD_VALUES: dict[str, Any] = {
    "chat_control_tokens": ["<ent>"],
    "files_loaded": ["vocab.txt"],
    "max_length": 5,
    "pad_to_multiple_of": 8,
    "pad_token_type_id": 1,
    "padding_side": "left",
    "sp_model_kwargs": {"enable_sampling": True},
    "stride": 2,
    "unk_id": 3,
    "vocab_size": 7,
}


def odd_value(key: str) -> Any:
    """A value that is not the default, of a key without effect."""
    true = ("add_", "clean_", "is_", "local_", "spaces_", "trim_", "use_", "legacy", "from_", "fix_")
    return ODD_VALUES.get(key, key.startswith(true) or "odd")


def added(word: str, **flags: bool) -> dict[str, Any]:
    """An entry of added_tokens_decoder."""
    return {str(VOCAB.index(word)): {"content": word, "normalized": False, "special": True, **flags}}


@dataclass(frozen=True)
class Folder:
    """Files to write: `vocab` is the content of vocab.txt, `sections` replace parts of tokenizer.json."""

    config: dict[str, Any] | None = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    vocab: str = LINES + "\n"
    sections: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, *kinds: str) -> Path:
        """Write vocab.txt or tokenizer.json or both, and the other files."""
        if "vocab.txt" in kinds:
            (folder / "vocab.txt").write_bytes(self.vocab.encode())
        if "tokenizer.json" in kinds:
            words = {word: index for index, word in enumerate(self.vocab.splitlines())}
            content = json.loads(BertWordPieceTokenizer(words, lowercase=False).to_str())
            (folder / "tokenizer.json").write_text(json.dumps(content | self.sections))
        contents = {
            "config": {"model_type": "bert"} | self.model,
            "tokenizer_config": self.config,
            **self.files,
        }
        for name, content in contents.items():
            if content is not None:
                (folder / f"{name}.json").write_text(json.dumps(content))
        return folder


BOTH = ("vocab.txt", "tokenizer.json")
EITHER = {
    "types left out": Folder({"model_input_names": WITHOUT_TYPES}),
    "DistilBERT's class": Folder({"tokenizer_class": "DistilBertTokenizer"}),
    "DistilBERT's fast class in config.json": Folder({}, {"tokenizer_class": "DistilBertTokenizerFast"}),
    "DistilBERT's class with types": Folder(
        {"tokenizer_class": "DistilBertTokenizer", "model_input_names": WITH_TYPES}
    ),
    "class of both files": Folder(
        {"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": "DistilBertTokenizer"}
    ),
    "Electra's class": Folder({"tokenizer_class": "ElectraTokenizerFast", "do_lower_case": False}),
    "code of its own beside a known class": Folder(
        {"tokenizer_class": "BertTokenizer", "auto_map": OWN_CODE}
    ),
    "code of its own, no class": Folder({"auto_map": OWN_CODE}),
    "cut on the left": Folder({"truncation_side": "left"}),
    "cut on the left without types": Folder({"truncation_side": "left", "model_input_names": WITHOUT_TYPES}),
    "no basic tokenization": Folder({"do_basic_tokenize": False}),
    "old name of the limit": Folder({"max_len": 12}),
    "both names of the limit": Folder({"max_len": 12, "model_max_length": 24}),
    "null before the old name": Folder({"max_len": 12, "model_max_length": None}),
    "special tokens split": Folder({"split_special_tokens": True}),
    "cased, accents stripped": Folder({"do_lower_case": False, "strip_accents": True}),
    "Chinese kept together": Folder({"tokenize_chinese_chars": False}),
    "no mask": Folder({"mask_token": None}),
    "no padding token": Folder({"pad_token": None}),
    "mask of special_tokens_map.json": Folder(
        None, vocab="\n".join(OTHER_MASK), files={"special_tokens_map": {"mask_token": "<mask>"}}
    ),
    "special_tokens_map.json against the configuration": Folder(
        {"cls_token": "[CLS]"}, files={"special_tokens_map": {"cls_token": "<ent>"}}
    ),
    "added_tokens_decoder against special_tokens_map.json": Folder(
        {"added_tokens_decoder": added("HELLO")}, files={"special_tokens_map": {"cls_token": "<ent>"}}
    ),
    "added_tokens.json": Folder(files={"added_tokens": {"HELLO": VOCAB.index("HELLO")}}),
    "not padded on the left": Folder({"padding_side": "left"}),
    "model-specific tokens": Folder({"model_specific_special_tokens": {"ent_token": "<ent>"}}),
    "model-specific tokens beside others": Folder(
        {"model_specific_special_tokens": {"ent_token": "<ent>"}, "hello_token": "HELLO"}
    ),
    "tokens of two lists": Folder(
        {"extra_special_tokens": ["<ent>"], "additional_special_tokens": ["HELLO"], "eos_token": "</s>"}
    ),
    "keys without effect": Folder({key: odd_value(key) for key in IDLE}),
}
VOCABULARY_ONLY = {
    "blank last line": Folder(vocab=LINES + "\n\n"),
    "blank line inside": Folder(vocab="\n".join((*VOCAB[:9], "", *VOCAB[9:]))),
    "no newline at the end": Folder(vocab=LINES),
    "lines of Windows": Folder(vocab=LINES.replace("\n", "\r\n") + "\r\n"),
    "a word twice": Folder(vocab=LINES + "\nthe\nof\n"),
    "spaces after words": Folder(vocab=LINES.replace("\n", " \n")),
}
FILE_ONLY = {
    "truncation": Folder(sections=truncating("Right")),
    "truncation on the left": Folder(sections=truncating("Left")),
    "truncation on the left, stated right": Folder({"truncation_side": "right"}, sections=truncating("Left")),
    "generic": Folder(GENERIC),
    "generic with types": Folder(GENERIC | {"model_input_names": WITH_TYPES}),
    "generic in config.json": Folder({}, GENERIC),
    "generic in config.json, no configuration": Folder(None, GENERIC),
    "slow generic": Folder({"tokenizer_class": "PreTrainedTokenizer"}),
    "generic of transformers 5": Folder({"tokenizer_class": "TokenizersBackend"}),
    "generic, truncation": Folder(GENERIC, sections=truncating("Right")),
    "generic, truncation on the left": Folder(GENERIC, sections=truncating("Left")),
    "generic, names beside": Folder(GENERIC | BERT_NAMES, sections={"added_tokens": []}),
    "generic, special_tokens_map.json": Folder(
        GENERIC, files={"special_tokens_map": {"cls_token": "<ent>", "additional_special_tokens": ["HELLO"]}}
    ),
    "generic, added_tokens_decoder": Folder(GENERIC | {"added_tokens_decoder": added("HELLO", lstrip=True)}),
    "generic, added_tokens.json": Folder(GENERIC, files={"added_tokens": {"HELLO": VOCAB.index("HELLO")}}),
    "generic, special tokens split": Folder(GENERIC | BERT_NAMES | {"split_special_tokens": True}),
    "generic, cut on the left": Folder(GENERIC | {"truncation_side": "left"}),
}
CASES = [
    *((folder, (kind,), f"{name}, {kind}") for (name, folder), kind in product(EITHER.items(), BOTH)),
    *((folder, BOTH[:1], name) for name, folder in VOCABULARY_ONLY.items()),
    *((folder, BOTH[1:], name) for name, folder in FILE_ONLY.items()),
]


def assert_the_same(
    folder: Path,
    theirs: Any,
    *,
    sentence: bool = False,
    positions: int = UNLIMITED,
    longest: int = UNLIMITED,
) -> None:
    """Ids, types and attention of texts and pairs, and the limit; the reference pads nothing.

    A text without any token, special ones included, is no sequence of ours.
    """
    limit = model_max_length(str(folder), sentence=sentence)
    assert min(limit or UNLIMITED, positions) == min(theirs.model_max_length, UNLIMITED)
    texts = [text for text in TEXTS if len(text) <= longest]
    for pairs, length in product((None, texts[::-1]), LIMITS):
        expected = theirs(texts, pairs, truncation=True, max_length=length)
        found = lay_out(folder, texts, pairs, max_length=length, sentence=sentence)
        ids = [each for each in expected["input_ids"] if each]
        types = expected.get("token_type_ids", [[0] * len(each) for each in ids])
        assert ids_of(found) == ids
        assert types_of(found) == [each for each in types if each]
        assert list(filter(None, expected["attention_mask"])) == [[1] * len(each) for each in ids]


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "kinds"), [case[:2] for case in CASES], ids=[case[2] for case in CASES])
def test_a_folder_gives_the_tokens_of_the_reference(
    tmp_path: Path, folder: Folder, kinds: tuple[str, ...]
) -> None:
    """Whatever its files state, and wherever."""
    written = folder.write(tmp_path, *kinds)
    assert_the_same(written, AutoTokenizer.from_pretrained(written))


JAPANESE = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
REFUSED: dict[str, tuple[Folder, tuple[str, ...], str]] = {
    "Japanese": (
        Folder(JAPANESE),
        BOTH[:1],
        r"tokenizer_config\.json: tokenizer_class: .*'BertJapaneseTokenizer'",
    ),
    "Japanese in config.json": (
        Folder({}, JAPANESE),
        BOTH[:1],
        r"/config\.json: tokenizer_class: .*'BertJapanese",
    ),
    "Japanese with both files": (Folder(JAPANESE), BOTH, "'BertJapaneseTokenizer'"),
    "code of its own": (
        Folder({"tokenizer_class": "KoBertTokenizer", "auto_map": OWN_CODE}),
        BOTH[:1],
        r"'KoBertTokenizer' \(code of the checkpoint, which is never run\); if a tokenizer\.json gives the",
    ),
    "files of other names": (
        Folder({"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]}),
        BOTH,
        r"fast_tokenizer_files: expected tokenizer\.json alone, got tokenizer\.4\.0\.0\.json",
    ),
    "slow": (Folder({"tokenizer_class": "BertTokenizerLegacy"}), BOTH, "'BertTokenizerLegacy'"),
    "generic without its file": (
        Folder(GENERIC),
        BOTH[:1],
        "not built from vocab.txt; expected tokenizer.json",
    ),
    "pointer": (
        Folder(vocab=POINTER),
        BOTH[:1],
        r"vocab\.txt: expected .* Git LFS pointer; run `git lfs pull`",
    ),
    "no class token": (Folder({"cls_token": None}), BOTH[:1], r"expected \[UNK\], cls_token and \[SEP\]"),
    "no unknown token": (
        Folder(vocab=LINES.replace("[UNK]", "[gone]")),
        BOTH[:1],
        r"expected \[UNK\], \[CLS\] and \[SEP\]",
    ),
}


@pytest.mark.parametrize(("folder", "kinds", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_built_is_refused_by_name(
    tmp_path: Path, folder: Folder, kinds: tuple[str, ...], message: str
) -> None:
    """With the file that states it, and the way out."""
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(str(folder.write(tmp_path, *kinds)))


REFUSED_VALUES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"init_inputs": [["a"]]}, r"init_inputs: expected \[\], got"),
    ({"trust_remote_code": True}, "trust_remote_code: expected False, got True, .*; remove it"),
    ({"gguf_file": "a.gguf"}, "gguf_file: expected no such key"),
    *(
        ({key: value}, f"{key}: expected no such key, got .*; save the tokenizer again")
        for key, value in {
            "vocab": {"a": 0},
            "merges": ["a b"],
            "tokenizer_object": {},
            "post_processor": {},
            "tokenizer_truncation": {"direction": "left"},
            "tokenizer_padding": {},
            "_json_truncation": {},
            "_json_padding": {},
        }.items()
    ),
)


@pytest.mark.parametrize(("config", "message"), REFUSED_VALUES, ids=[str(case) for case, _ in REFUSED_VALUES])
def test_values_that_would_make_another_tokenizer_are_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    """Before anything is built; null is as good as no key."""
    with pytest.raises(ConfigError, match=rf"tokenizer_config\.json: {message}"):
        check_keys(Folder(config).write(tmp_path, *BOTH), tmp_path, "bert")
    Folder(dict.fromkeys(config)).write(tmp_path)
    check_keys(tmp_path, tmp_path, "bert")


def test_a_tokenizer_that_cuts_at_random_is_refused(tmp_path: Path) -> None:
    """Dropout of merges is for training; zero is none."""
    for dropout in (0.1, 0.0, None):
        model = {"type": "BPE", "dropout": dropout, "unk_token": "a", "vocab": {"a": 0}, "merges": []}
        Folder(GENERIC, sections={"model": model}).write(tmp_path, "tokenizer.json")
        if dropout:
            with pytest.raises(ConfigError, match=r"tokenizer\.json: model\.dropout: .* 0\.1.*cuts texts at"):
                key_notes(tmp_path, tmp_path, "bert")
        else:
            assert key_notes(tmp_path, tmp_path, "bert") == ()


# Keys whose values other tests change, by the name of the test.
ELSEWHERE = {
    "clean_text": "test_text_that_is_not_to_be_cleaned_keeps_control_characters",
    "never_split": "test_words_that_are_never_split_stay_whole",
    "wordpieces_prefix": "test_another_prefix_begins_the_later_pieces",
    "model": "test_a_folder_gives_the_tokens_of_the_reference",
    "normalizer": "test_a_class_with_other_rules_is_loaded_from_the_file_that_it_wrote",
    "pre_tokenizer": "test_a_class_with_other_rules_is_loaded_from_the_file_that_it_wrote",
    "post_processor": "test_a_class_with_other_rules_is_loaded_from_the_file_that_it_wrote",
    "*_token": "test_added_tokens_are_those_of_transformers",
    **dict.fromkeys(
        ("add_prefix_space", "keep_accents", "split_by_punct"),
        "test_a_setting_of_such_a_class_is_that_of_its_file",
    ),
}


def test_every_key_that_matters_has_a_folder() -> None:
    """The values of each key that is honoured or refused are tested here or where this says."""
    assert set(ELSEWHERE.values()) <= all_names()
    folders = [case[0] for case in CASES] + [folder for folder, *_ in REFUSED.values()]
    tested = set(ELSEWHERE) | {key for config, _ in REFUSED_VALUES for key in config}
    for folder in folders:
        special = folder.files.get("special_tokens_map", {})
        tested |= {*(folder.config or {}), *folder.sections, *special}
    matter = set().union(
        *(keys_of(name, "honoured", "refused") for name in ("tokenizer", "tokenizer_json", "special_tokens"))
    )
    assert matter - tested == set()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_git_lfs_pointer_is_named_for_what_it_is(tmp_path: Path, name: str) -> None:
    """In place of any of the files."""
    folder = Folder().write(tmp_path, *BOTH)
    (folder / name).write_text(POINTER)
    with pytest.raises(TokenizerError, match=rf"{name}: expected .* got a Git LFS pointer"):
        load_tokenizer(str(folder))


# Classes: every one of the reference is built as there, loaded from its file, or refused.


def reference_classes() -> dict[str, Any]:
    """The reference's tokenizer classes, by the names that files may state without `Fast`."""
    exported = {name for name in dir(transformers) if name.endswith("Tokenizer")}
    names = {*filter(None, TOKENIZER_MAPPING_NAMES.values()), *exported, *BERT_CLASSES, *FILE_CLASSES}
    found = {name: tokenizer_class_from_name(name) for name in sorted(names) if name != "AutoTokenizer"}
    return {name.removesuffix("Fast"): kind for name, kind in found.items() if isinstance(kind, type)}


def test_the_classes_are_those_of_the_reference() -> None:
    """BERT's are all known, each with its token types."""
    classes = reference_classes()
    bert = {name for name, kind in classes.items() if issubclass(kind, transformers.BertTokenizer)}
    assert set(BERT_CLASSES) == bert
    known = {
        name: gives for name, gives in (BERT_CLASSES | FILE_CLASSES).items() if name not in GENERIC_CLASSES
    }
    assert known == {name: "token_type_ids" in classes[name].model_input_names for name in known}
    assert len(classes) > 100


SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGH.,!?'0123456789é日"
UNIGRAM = [*((word, 0.0) for word in SPECIALS), *((a + b, -5.0) for a, b in product("▁", LETTERS))]
UNIGRAM += [(letter, -6.0) for letter in "▁" + LETTERS]
BYTES = {
    token: i
    for i, token in enumerate((*SPECIALS, *"!\"#$%&'()*+,-./0123456789:;<=>?@", *LETTERS[:34], "Ġ", "Ã", "©"))
}
BYTES = {token: i for i, token in enumerate(dict.fromkeys(BYTES))}
ENDED = {token: i for i, token in enumerate((*SPECIALS, *LETTERS, *(f"{letter}</w>" for letter in LETTERS)))}
PIECES = {
    token: i for i, token in enumerate((*SPECIALS, *LETTERS, *(f"##{letter}" for letter in LETTERS), "[UNK]"))
}
MADE: dict[str, Callable[[Any], Any]] = {
    "AlbertTokenizer": lambda kind: kind(vocab=UNIGRAM),
    "CamembertTokenizer": lambda kind: kind(vocab=UNIGRAM),
    "DebertaV2Tokenizer": lambda kind: kind(vocab=UNIGRAM),
    "GPT2Tokenizer": lambda kind: kind(vocab=BYTES, merges=[], unk_token="[UNK]"),
    "HerbertTokenizer": lambda kind: kind(vocab=ENDED, merges=[]),
    "MPNetTokenizer": lambda kind: kind(vocab=PIECES),
    "RobertaTokenizer": lambda kind: kind(vocab=BYTES, merges=[]),
    "XLMRobertaTokenizer": lambda kind: kind(vocab=UNIGRAM),
}


@pytest.mark.parametrize("name", [name for name in FILE_CLASSES if name not in GENERIC_CLASSES])
def test_a_class_with_other_rules_is_loaded_from_the_file_that_it_wrote(tmp_path: Path, name: str) -> None:
    """Which holds them all."""
    MADE[name](tokenizer_class_from_name(name)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == name
    assert_the_same(tmp_path, theirs, longest=1000)


WORDS = {word: index for index, word in enumerate(VOCAB)}
SEPARATED = ("[SEP]", WORDS["[SEP]"]), ("[CLS]", WORDS["[CLS]"])
TEMPLATE = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP]:1 [SEP] $B:2 [SEP]:2", special_tokens=list(SEPARATED)
)
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=True)
KINDS: dict[str, tuple[Any, ...]] = {
    "normalizer": (
        normalizers.BertNormalizer(lowercase=False),
        normalizers.ByteLevel(),
        normalizers.Lowercase(),
        normalizers.NFC(),
        normalizers.NFD(),
        normalizers.NFKC(),
        normalizers.NFKD(),
        normalizers.Nmt(),
        normalizers.Prepend("x"),
        normalizers.Replace("a", "the "),
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
        normalizers.Strip(),
        normalizers.StripAccents(),
    ),
    "pre_tokenizer": (
        pre_tokenizers.BertPreTokenizer(),
        BYTE_LEVEL,
        pre_tokenizers.CharDelimiterSplit("e"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.FixedLength(3),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Punctuation("isolated"),
        pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()]),
        pre_tokenizers.Split(" ", "merged_with_next"),
        pre_tokenizers.UnicodeScripts(),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.WhitespaceSplit(),
    ),
    "post_processor": (
        processors.BertProcessing(*SEPARATED),
        processors.ByteLevel(),
        processors.RobertaProcessing(*SEPARATED),
        processors.Sequence([processors.ByteLevel(), TEMPLATE]),
        TEMPLATE,
    ),
    "model": (
        models.BPE(WORDS, [], unk_token="[UNK]"),
        models.Unigram([(word, -1.0 - index / 100) for index, word in enumerate(VOCAB)], unk_id=1),
        models.WordLevel(WORDS, unk_token="[UNK]"),
        models.WordPiece(WORDS, unk_token="[UNK]", max_input_chars_per_word=4),
    ),
}


@pytest.mark.parametrize(
    ("component", "part"),
    [(component, part) for component, parts in KINDS.items() for part in parts],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_generic_tokenizer_may_have_parts_of_every_kind(tmp_path: Path, component: str, part: Any) -> None:
    """They run as they are in the file."""
    tokenizer = Tokenizer(models.WordPiece(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.post_processor = (
        pre_tokenizers.Whitespace(),
        KINDS["post_processor"][0],
    )
    setattr(tokenizer, component, part)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    Folder(GENERIC | BERT_NAMES | {"model_input_names": WITH_TYPES}).write(tmp_path)
    assert_the_same(tmp_path, AutoTokenizer.from_pretrained(tmp_path), longest=300)


def test_every_kind_of_a_part_is_run() -> None:
    """But Precompiled, whose table comes out of a model of sentencepiece."""
    for component, parts in KINDS.items():
        rows = [row for row in FILES["tokenizer_kinds"].keys if component in row.of]
        kinds = {name for row in rows for name in row.names}
        assert kinds - {type(part).__name__ for part in parts} <= {"Precompiled"}


@pytest.mark.slow
@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize(
    ("name", "setting"),
    [(name, setting) for name, settings in CLASS_SETTINGS.items() for setting in settings],
)
def test_a_setting_of_such_a_class_is_that_of_its_file(
    tmp_path: Path, name: str, setting: str, value: bool
) -> None:
    """The reference follows the setting, so one that the file contradicts is refused."""
    kind = tokenizer_class_from_name(name)
    MADE[name](partial(kind, **{setting: value})).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert_the_same(tmp_path, AutoTokenizer.from_pretrained(tmp_path), longest=300)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: not value}))
    with pytest.raises(TokenizerError, match=rf"{setting}: expected {value}, as in .*, got {not value}"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("kind", ["BertTokenizer", "DistilBertTokenizer"])
def test_a_folder_that_the_reference_saved_is_read_alike(tmp_path: Path, kind: str) -> None:
    """Of every BERT class, with settings that are not the defaults."""
    vocabulary = {word: index for index, word in enumerate(VOCAB)}
    made = getattr(transformers, kind)(
        vocab=vocabulary, do_lower_case=False, truncation_side="left", extra_special_tokens=["HELLO"]
    )
    made.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert_the_same(tmp_path, AutoTokenizer.from_pretrained(tmp_path))


# sentence-transformers: its own file has settings of the tokenizer.

SENTENCE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lower-cased before a cased tokenizer": ({"do_lower_case": True}, {"do_lower_case": False}),
    "lower-cased before an uncased tokenizer": ({"do_lower_case": True}, {}),
    "lower-cased before a generic tokenizer": ({"do_lower_case": True}, GENERIC),
    "not lower-cased": ({"do_lower_case": False}, {"do_lower_case": False}),
    "limit": ({"max_seq_length": 9}, {"model_max_length": 20}),
    "no limit": ({"max_seq_length": None}, {"model_max_length": 20}),
    "arguments": ({"tokenizer_args": {"do_lower_case": False, "truncation_side": "left"}}, {}),
    "arguments without effect": (
        {"tokenizer_args": {"tokenizer_class": "DistilBertTokenizer", "use_fast": False, "revision": "x"}},
        {},
    ),
    "new name of the arguments": ({"processor_kwargs": {"strip_accents": False}}, {}),
    "limit among the arguments": (
        {"max_seq_length": 9, "tokenizer_args": {"model_max_length": 11}},
        {"model_max_length": 20},
    ),
    "special token among the arguments": ({"tokenizer_args": {"mask_token": "HELLO", "use_fast": False}}, {}),
}


def sentence_reference(folder: Path, stated: dict[str, Any]) -> Any:
    """The tokenizer as sentence-transformers 6.2 makes it, by the steps of its Transformer module."""
    arguments = stated.get("processor_kwargs") or stated.get("tokenizer_args") or {}
    if stated.get("max_seq_length") is not None:
        arguments = {"model_max_length": stated["max_seq_length"]} | arguments
    theirs = AutoTokenizer.from_pretrained(folder, **arguments)
    if stated.get("do_lower_case"):
        backend = theirs.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    return theirs


@pytest.mark.slow
@pytest.mark.parametrize(("stated", "config"), SENTENCE.values(), ids=SENTENCE)
def test_sentence_transformers_settings_of_the_tokenizer_count(
    tmp_path: Path, stated: dict[str, Any], config: dict[str, Any]
) -> None:
    """In a folder of that library, and only there."""
    folder = Folder(config, files={"sentence_bert_config": stated}).write(tmp_path, *BOTH)
    assert_the_same(folder, sentence_reference(folder, stated), sentence=True)
    assert_the_same(folder, AutoTokenizer.from_pretrained(folder))


@pytest.mark.slow
@pytest.mark.parametrize(("stated", "config"), SENTENCE.values(), ids=SENTENCE)
def test_sentence_transformers_itself_agrees(
    tmp_path: Path, stated: dict[str, Any], config: dict[str, Any]
) -> None:
    """With the tokenizer of the loaded model."""
    import sentence_transformers as library  # seconds that other tests of this file save

    folder = write_checkpoint(
        tmp_path, "bert", "embedding", width=16, layers=1, vocab=VOCAB, sentence_transformers=True
    )
    Folder(config, {"model_type": "bert"} | json.loads((folder / "config.json").read_text())).write(
        folder, *BOTH
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps(stated))
    theirs = library.SentenceTransformer(str(folder), device="cpu").tokenizer
    assert_the_same(folder, theirs, sentence=True, positions=128)


def test_the_files_of_the_transformer_are_named_once_more_and_alike() -> None:
    """The tokenizer's process has no torch, which the other list's module imports."""
    assert SENTENCE_FILES == TRANSFORMER_FILES


def test_a_tokenizer_elsewhere_is_refused(tmp_path: Path) -> None:
    """Its files are not among the checkpoint's."""
    stated = {"tokenizer_name_or_path": "org/other"}
    folder = Folder(files={"sentence_bert_config": stated}).write(tmp_path, *BOTH)
    with pytest.raises(TokenizerError, match="tokenizer_name_or_path: expected no such key, got 'org/other'"):
        load_tokenizer(str(folder), sentence=True)


def test_lower_casing_leaves_the_early_cut(tmp_path: Path) -> None:
    """A long text costs what it did."""
    folder = Folder(files={"sentence_bert_config": {"do_lower_case": True}}).write(tmp_path, *BOTH)
    assert EarlyCut.of(load_tokenizer(str(folder), sentence=True)) == EarlyCut.of(load_tokenizer(str(folder)))


NOTED = {
    "auto_map: code of the checkpoint is never run; BertTokenizer is used": {"auto_map": OWN_CODE},
    "do_basic_tokenize: false has no effect": {"do_basic_tokenize": False},
    "never_split: these words stay whole": {"never_split": ["HELLO"]},
    "clean_text: false keeps control characters": {"clean_text": False},
    "wordpieces_prefix begins the later pieces": {"wordpieces_prefix": "@@"},
}


@pytest.mark.parametrize(("note", "config"), NOTED.items(), ids=NOTED)
def test_what_has_no_effect_or_another_than_in_the_reference_is_noted(
    tmp_path: Path, note: str, config: dict[str, Any]
) -> None:
    """By its name; other folders have no notes."""
    (found,) = read_settings(str(Folder(config).write(tmp_path, *BOTH))).notes()
    assert note in found
    assert not read_settings(str(Folder({"do_lower_case": False}).write(tmp_path, *BOTH))).notes()
