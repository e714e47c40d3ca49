"""Loading a checkpoint's tokenizer: `tokenizer.json`, or `vocab.txt` with the BERT family's rules."""

import functools
import hashlib
import json
import os
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from corpusmill.pipeline.errors import TokenizerError

FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")
UNLIMITED = 10**9
"""Configurations write "no limit" as a huge `model_max_length`."""


def tokenizer_digest(folder: str) -> str:
    """Hash the files that decide how a text is cut into tokens."""
    digest = hashlib.sha256()
    for name in FILES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    return digest.hexdigest()


def model_max_length(folder: str) -> int | None:
    """Return the token limit that the tokenizer's configuration states, if any."""
    limit = _config(folder).get("model_max_length")
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < UNLIMITED else None


@functools.lru_cache(maxsize=16)
def load_tokenizer(folder: str, max_length: int) -> Tokenizer:
    """Load a tokenizer that never pads and cuts at `max_length` tokens, the longer of a pair first."""
    tokenizer = _load(folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _load(folder: str) -> Tokenizer:
    fast, vocabulary = (os.path.join(folder, name) for name in FILES[:2])
    try:
        if os.path.exists(fast):
            return _as_configured(Tokenizer.from_file(fast), _config(folder))
        if os.path.exists(vocabulary):
            return _wordpiece(vocabulary, _config(folder))
    except Exception as error:  # tokenizers raises plain Exception
        raise TokenizerError(
            f"{folder}: the tokenizer cannot be read ({error}); save the tokenizer again"
        ) from None
    raise TokenizerError(
        f"{folder}: expected tokenizer.json or vocab.txt, found neither; save the tokenizer beside the model"
    )


def _as_configured(tokenizer: Tokenizer, config: dict[str, Any]) -> Tokenizer:
    """Let the configuration overrule `tokenizer.json` on normalization, as transformers' own classes do."""
    normalizer = tokenizer.normalizer
    generic = str(config.get("tokenizer_class")).startswith("PreTrainedTokenizer")
    if isinstance(normalizer, normalizers.BertNormalizer) and not generic:
        normalizer.lowercase = config.get("do_lower_case", normalizer.lowercase)
        normalizer.strip_accents = config.get("strip_accents", normalizer.strip_accents)
        normalizer.handle_chinese_chars = config.get(
            "tokenize_chinese_chars", normalizer.handle_chinese_chars
        )
        tokenizer.normalizer = normalizer
    return tokenizer


def _config(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, "tokenizer_config.json")
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except ValueError as error:
        raise TokenizerError(f"{path}: expected JSON ({error}); save the tokenizer again") from None
    return config if isinstance(config, dict) else {}


def _wordpiece(path: str, config: dict[str, Any]) -> Tokenizer:
    """Build the BERT tokenizer that a bare vocabulary stands for."""
    special = {
        name: _text(config.get(f"{name.lower()}_token"), f"[{name}]")
        for name in ("UNK", "SEP", "CLS", "PAD", "MASK")
    }
    tokenizer = Tokenizer(
        models.WordPiece.from_file(path, unk_token=special["UNK"], max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=config.get("clean_text", True),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # One that the vocabulary lacks would get an id beyond the model's embeddings.
    known = [token for token in special.values() if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known])
    end, start = (tokenizer.token_to_id(special[name]) for name in ("SEP", "CLS"))
    if end is None or start is None:
        raise ValueError(f"expected {special['CLS']} and {special['SEP']} in {path}")
    tokenizer.post_processor = processors.BertProcessing((special["SEP"], end), (special["CLS"], start))
    return tokenizer


def _text(token: Any, default: str) -> str:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else default
