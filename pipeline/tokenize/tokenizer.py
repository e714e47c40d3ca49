"""A checkpoint's tokenizer: from `tokenizer.json`, or from `vocab.txt` with the rules of the BERT family.

As in transformers 5, the tokenizer of a BERT class (or of no stated class) is built from the vocabulary and
tokenizer_config.json. The normalization in `tokenizer.json` is ignored, and a setting that is not stated has
the default of the class. The classes of ConvBERT and DPR are exceptions: their default is that of the file,
and a stated setting counts, which transformers 5 ignores. A generic class, a class with other rules, or a
model that is not WordPiece, is loaded from the file without changes, and stated special tokens are added.

transformers 5 ignores three settings that earlier releases honoured; they are honoured here. `clean_text:
false` keeps control characters. `wordpieces_prefix` begins the later pieces of a word. A word of
`never_split` that is in the vocabulary stays whole if no letter or digit is next to it (the old slow
tokenizer required white space); other words of `never_split` are cut like any word. Unlike in transformers, a
special token that is not in the vocabulary gets no id: the model has no vector for it. The sections for
truncation and padding in `tokenizer.json` set no length, as in transformers; the direction of the truncation
counts if tokenizer_config.json states none.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.tokenize.added_tokens import AddedTokens, added_tokens
from corpusmill.pipeline.tokenize.settings import (
    CLASS_SETTINGS,
    FILE_CLASSES,
    OTHER_FILES,
    TokenizerSettings,
    read_json,
    read_settings,
    refuse_lfs_pointer,
    stated_elsewhere,
)

FILES = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SETTINGS = {
    "clean_text": "clean_text",
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""The settings of BERT's normalization: name in the configuration to name in `tokenizer.json`."""
REQUIRED = ("unk_token", "cls_token", "sep_token")


def model_max_length(folder: str, *, sentence: bool = False) -> int | None:
    """Return the token limit that is stated for the tokenizer, if any."""
    return read_settings(folder, sentence=sentence).max_length


def tokenizer_digest(folder: str, *, sentence: bool = False) -> str:
    """Return the hash of what defines how a text is cut into tokens: files, and settings in other files."""
    digest = hashlib.sha256()
    for name in FILES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    if stated := stated_elsewhere(folder, sentence=sentence):
        digest.update(json.dumps(stated, sort_keys=True).encode())
    return digest.hexdigest()


def load_tokenizer(folder: str, *, sentence: bool = False) -> Tokenizer:
    """Load a tokenizer, without padding and truncation; anew only if its files have changed.

    `sentence`: the folder is one of sentence-transformers, whose own settings count.
    """
    return _loaded(folder, sentence, _stamp(folder))


def _stamp(folder: str) -> tuple[tuple[int, int] | None, ...]:
    """Return what changes if one of the files is written again: a program may save a checkpoint twice."""
    found: list[tuple[int, int] | None] = []
    for name in (*FILES, *OTHER_FILES):
        try:
            stat = os.stat(os.path.join(folder, name))
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=16)
def _loaded(folder: str, sentence: bool, _stamp: tuple[tuple[int, int] | None, ...]) -> Tokenizer:
    settings = read_settings(folder, sentence=sentence)
    settings.check()
    tokenizer = _load(settings)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = settings.config.get("split_special_tokens") is True
    if settings.lowercase:
        tokenizer.normalizer = _lowercased(tokenizer.normalizer)
    return tokenizer


def ids_above(tokenizer: Tokenizer, size: int) -> list[str]:
    """Return the tokens that a text can have whose ids are not below `size`.

    An empty line of vocab.txt has an id, but no text has such a token.
    """
    return [token for token, index in tokenizer.get_vocab().items() if index >= size and token]


def _load(settings: TokenizerSettings) -> Tokenizer:
    folder = settings.folder
    try:
        if os.path.exists(os.path.join(folder, FILES[0])):
            return _from_json(settings)
        if os.path.exists(os.path.join(folder, FILES[1])):
            return _from_vocabulary(settings)
    except TokenizerError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise TokenizerError(
            f"{folder}: the tokenizer cannot be read ({error}); save the tokenizer again"
        ) from None
    raise TokenizerError(
        f"{folder}: expected tokenizer.json or vocab.txt, found neither; save the tokenizer beside the model"
    )


def _from_json(settings: TokenizerSettings) -> Tokenizer:
    """Load the whole file, or for a BERT class only its vocabulary and added tokens."""
    path = os.path.join(settings.folder, FILES[0])
    content = read_json(path) or {}
    model = content["model"]
    name, added = settings.class_name, added_tokens(settings)
    if (
        name in FILE_CLASSES
        or model.get("type", "WordPiece") != "WordPiece"
        or not isinstance(model["vocab"], dict)
    ):
        _check_stated(settings, content)
        return _from_whole_file(path, added)
    if name.startswith(("ConvBert", "DPR")):
        normalizer = content.get("normalizer") or {}
        stated = {ours: normalizer[theirs] for ours, theirs in SETTINGS.items() if theirs in normalizer}
        added = replace(added, config=stated | added.config)
    return _bert_tokenizer(model["vocab"], added)


def _check_stated(settings: TokenizerSettings, content: dict[str, Any]) -> None:
    """Refuse a setting of a class that its tokenizer.json contradicts: transformers 5 follows the setting."""
    in_file = _settings_in(content)
    for name in CLASS_SETTINGS.get(settings.class_name, ()):
        value = settings.config.get(name)
        if value is not None and value != in_file.get(name, value):
            raise TokenizerError(
                f"{settings.folder}/tokenizer_config.json: {name}: expected {in_file[name]}, as in "
                f"tokenizer.json, got {value}; correct the wrong one, or save the tokenizer again"
            )


def _settings_in(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the parts of a tokenizer.json stand for."""
    rules = {part["type"]: part for part in _parts(content.get("normalizer"), "normalizers")}
    splits = {part["type"]: part for part in _parts(content.get("pre_tokenizer"), "pretokenizers")}
    bert, level, space = rules.get("BertNormalizer"), splits.get("ByteLevel"), splits.get("Metaspace")
    found: dict[str, Any] = {
        "do_lower_case": "Lowercase" in rules,
        "keep_accents": "StripAccents" not in rules,
        "split_by_punct": "Punctuation" in splits,
    }
    if bert is not None:
        found |= {ours: bert.get(theirs) for ours, theirs in SETTINGS.items()}
    if level is not None:
        found["add_prefix_space"] = level.get("add_prefix_space")
    elif space is not None:
        found["add_prefix_space"] = space.get("prepend_scheme", "always") == "always"
    return found


def _parts(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """Return the parts of a sequence, or the part alone."""
    if part is None:
        return []
    return [each for step in part[inner] for each in _parts(step, inner)] if inner in part else [part]


def _from_whole_file(path: str, added: AddedTokens) -> Tokenizer:
    """Load the file, and add the special tokens that are stated beside it."""
    tokenizer = Tokenizer.from_file(path)
    names = [token for name, token in added.names.items() if added.config.get(name)]
    _add_tokens(tokenizer, added, names)
    return tokenizer


def _from_vocabulary(settings: TokenizerSettings) -> Tokenizer:
    path = os.path.join(settings.folder, FILES[1])
    if settings.class_name in FILE_CLASSES:
        raise TokenizerError(
            f"{settings.stated_in}: tokenizer_class: {settings.class_name} is not built from vocab.txt; "
            "expected tokenizer.json beside it, or BertTokenizer if the vocabulary is BERT's"
        )
    refuse_lfs_pointer(path)
    return _bert_tokenizer(models.WordPiece.read_file(path), added_tokens(settings))


def _lowercased(normalizer: normalizers.Normalizer | None) -> normalizers.Normalizer:
    """Lower-case before a tokenizer's own normalization, as sentence-transformers 6.2 does."""
    steps = [normalizer] if normalizer is not None else []
    if isinstance(normalizer, normalizers.Sequence):
        steps = list(normalizer)  # type: ignore[call-overload]
    if normalizer is not None and any(isinstance(step, normalizers.Lowercase) for step in steps):
        return normalizer
    return normalizers.Sequence([normalizers.Lowercase(), *steps])


def _bert_tokenizer(vocabulary: dict[str, int], added: AddedTokens) -> Tokenizer:
    """Build the BERT tokenizer of a vocabulary and a configuration."""
    config, names = added.config, added.names
    unknown, start, end = (names[name].content if name in names else name for name in REQUIRED)
    tokenizer = Tokenizer(
        models.WordPiece(
            vocabulary,
            unk_token=unknown,
            max_input_chars_per_word=100,
            continuing_subword_prefix=config.get("wordpieces_prefix", "##"),
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=config.get("clean_text", True),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=config.get("wordpieces_prefix", "##"))
    _add_tokens(tokenizer, added, added.names.values())
    ids = {name: tokenizer.token_to_id(name) for name in (unknown, start, end)}
    if None in ids.values():
        raise ValueError(f"expected {unknown}, {start} and {end} in the vocabulary")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[f"{start}:0", "$A:0", f"{end}:0"],
        pair=[f"{start}:0", "$A:0", f"{end}:0", "$B:1", f"{end}:1"],
        special_tokens=[(name, ids[name]) for name in dict.fromkeys((start, end))],
    )
    return tokenizer


def _add_tokens(tokenizer: Tokenizer, added: AddedTokens, names: Iterable[AddedToken]) -> None:
    """Add the tokens that are cut out of a text first; a stated id that is not possible is a ValueError.

    `names` are the named special tokens to add, without those that the tokenizer has already.
    """
    present = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    stated = [token for _, token in sorted(added.by_id.items(), key=lambda item: item[0])]
    # A named token that is not in the vocabulary would get an id beyond the model's embeddings.
    special = [token for token in names if tokenizer.token_to_id(token.content) is not None]
    special = [token for token in (*special, *added.extra) if token.content not in present]
    kept = [
        AddedToken(text, single_word=True, normalized=False)
        for text in added.config.get("never_split") or ()
        if tokenizer.token_to_id(text) is not None
    ]
    taken = present | {token.content for token in (*stated, *special)}
    for token in (*stated, *special, *(token for token in kept if token.content not in taken)):
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    for index, token in added.by_id.items():
        found = tokenizer.token_to_id(token.content)
        if found != index:
            raise ValueError(f"added token {token.content!r}: expected id {index}, got {found}")
