"""A checkpoint's tokenizer: from `tokenizer.json`, or from `vocab.txt` with the rules of the BERT family.

As in transformers 5, the tokenizer of a BERT class (or of no stated class) is built from the vocabulary and
tokenizer_config.json. The normalization in `tokenizer.json` is ignored, and a setting that is not stated has
the default of the class. ConvBertTokenizer is an exception: its default is that of the file, and a stated
setting counts, which transformers 5 ignores. A generic class, or a model that is not WordPiece, is loaded
from the file without changes.

transformers 5 ignores three settings that earlier releases honoured; they are honoured here. `clean_text:
false` keeps control characters. `wordpieces_prefix` begins the later pieces of a word. A word of
`never_split` that is in the vocabulary stays whole if no letter or digit is next to it (the old slow
tokenizer required white space); other words of `never_split` are cut like any word. Unlike in transformers, a
special token that is not in the vocabulary gets no id: the model has no vector for it.
"""

import functools
import hashlib
import os
from dataclasses import replace

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.tokenize.added_tokens import AddedTokens, added_tokens, read_config, read_json

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
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")
UNLIMITED = 10**9
"""Least `model_max_length` that means "no limit"."""


def tokenizer_digest(folder: str) -> str:
    """Return the hash of the files that define how a text is cut into tokens."""
    digest = hashlib.sha256()
    for name in FILES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    return digest.hexdigest()


def model_max_length(folder: str) -> int | None:
    """Return the token limit that the tokenizer's configuration states, if any."""
    limit = read_config(folder).get("model_max_length")
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < UNLIMITED else None


@functools.lru_cache(maxsize=16)
def load_tokenizer(folder: str) -> Tokenizer:
    """Load a tokenizer, without padding and truncation."""
    tokenizer = _load(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _load(folder: str) -> Tokenizer:
    try:
        if os.path.exists(os.path.join(folder, FILES[0])):
            return _from_json(folder)
        if os.path.exists(os.path.join(folder, FILES[1])):
            vocabulary = models.WordPiece.read_file(os.path.join(folder, FILES[1]))
            return _bert_tokenizer(vocabulary, added_tokens(folder))
    except TokenizerError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise TokenizerError(
            f"{folder}: the tokenizer cannot be read ({error}); save the tokenizer again"
        ) from None
    raise TokenizerError(
        f"{folder}: expected tokenizer.json or vocab.txt, found neither; save the tokenizer beside the model"
    )


def _from_json(folder: str) -> Tokenizer:
    """Load the whole file, or for a BERT class only its vocabulary and added tokens."""
    path = os.path.join(folder, FILES[0])
    content = read_json(path) or {}
    model = content["model"]
    name = str(read_config(folder).get("tokenizer_class"))
    if (
        name in GENERIC_CLASSES
        or model.get("type", "WordPiece") != "WordPiece"
        or not isinstance(model["vocab"], dict)
    ):
        return Tokenizer.from_file(path)
    added = added_tokens(folder)
    if name.startswith("ConvBert"):
        normalizer = content.get("normalizer") or {}
        stated = {ours: normalizer[theirs] for ours, theirs in SETTINGS.items() if theirs in normalizer}
        added = replace(added, config=stated | added.config)
    return _bert_tokenizer(model["vocab"], added)


def _bert_tokenizer(vocabulary: dict[str, int], added: AddedTokens) -> Tokenizer:
    """Build the BERT tokenizer of a vocabulary and a configuration."""
    config, names = added.config, added.names
    tokenizer = Tokenizer(
        models.WordPiece(
            vocabulary,
            unk_token=names["unk_token"].content,
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
    _add_tokens(tokenizer, added)
    start, end = names["cls_token"].content, names["sep_token"].content
    ids = {name: tokenizer.token_to_id(name) for name in (start, end)}
    if None in ids.values():
        raise ValueError(f"expected {start} and {end} in the vocabulary")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[f"{start}:0", "$A:0", f"{end}:0"],
        pair=[f"{start}:0", "$A:0", f"{end}:0", "$B:1", f"{end}:1"],
        special_tokens=list(ids.items()),
    )
    return tokenizer


def _add_tokens(tokenizer: Tokenizer, added: AddedTokens) -> None:
    """Add the tokens that are cut out of a text first; a stated id that is not possible is a ValueError."""
    # A named token that is not in the vocabulary would get an id beyond the model's embeddings.
    known = [token for token in added.names.values() if tokenizer.token_to_id(token.content) is not None]
    kept = [
        AddedToken(text, single_word=True, normalized=False)
        for text in added.config.get("never_split") or ()
        if tokenizer.token_to_id(text) is not None
    ]
    stated = [token for _, token in sorted(added.by_id.items(), key=lambda item: item[0])]
    taken = {token.content for token in (*stated, *known, *added.extra)}
    for token in (*stated, *known, *added.extra, *(token for token in kept if token.content not in taken)):
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    for index, token in added.by_id.items():
        found = tokenizer.token_to_id(token.content)
        if found != index:
            raise ValueError(f"added token {token.content!r}: expected id {index}, got {found}")
