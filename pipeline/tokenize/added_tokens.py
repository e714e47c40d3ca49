"""The tokens that a tokenizer cuts out of a text first, from the four files that may state them.

As in transformers 5, an `added_tokens_decoder` in tokenizer_config.json is complete; without one,
special_tokens_map.json overrides the configuration, and added_tokens.json and tokenizer.json add to it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

from corpusmill.pipeline.tokenize.settings import TokenizerSettings, read_json

NAMED_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}

STANDARD_NAMES = (*NAMED_TOKENS, "bos_token", "eos_token")


@dataclass(frozen=True)
class AddedTokens:
    """The configuration, special tokens by name, tokens with stated ids, and other special tokens.

    A name that is stated as null is not in `names`.
    """

    config: dict[str, Any]
    names: dict[str, AddedToken]
    by_id: dict[int, AddedToken]
    extra: tuple[AddedToken, ...]


def added_tokens(settings: TokenizerSettings) -> AddedTokens:
    """Read a tokenizer's added tokens; without a stated name, a special token has the name of BERT's."""
    folder, config = settings.folder, dict(settings.config)
    if not config.get("extra_special_tokens"):
        config["extra_special_tokens"] = config.pop("additional_special_tokens", [])
    stated = config.get("added_tokens_decoder")
    if stated is None:
        config |= read_json(os.path.join(folder, "special_tokens_map.json")) or {}
        config |= {name: value for name, value in settings.arguments.items() if value}
    stated_names = {name: config.get(name, default) for name, default in NAMED_TOKENS.items()}
    named = {name: token for name, token in stated_names.items() if token}
    by_id = (
        dict(
            _tokens_of_older_files(
                folder, {_content(token) for token in (*named.values(), *config["extra_special_tokens"])}
            )
        )
        if stated is None
        else {int(index): _token(fields) for index, fields in stated.items()}
    )
    known = {token.content: token for token in by_id.values()}
    return AddedTokens(
        config,
        {name: known.get(_content(token)) or _token(token, special=True) for name, token in named.items()},
        by_id,
        tuple(
            _token(token, special=True)
            for token in _other_special_tokens(config)
            if _content(token) not in known
        ),
    )


def _tokens_of_older_files(folder: str, special: set[str]) -> Iterator[tuple[int, AddedToken]]:
    for text, index in (read_json(os.path.join(folder, "added_tokens.json")) or {}).items():
        yield int(index), AddedToken(text, normalized=text not in special, special=text in special)
    for fields in (read_json(os.path.join(folder, "tokenizer.json")) or {}).get("added_tokens") or ():
        yield int(fields["id"]), _token(fields)


def _other_special_tokens(config: dict[str, Any]) -> list[Any]:
    """Return the special tokens without the named ones: from lists, and from keys such as `my_token`.

    As in transformers 5, `model_specific_special_tokens` counts where no other key names such tokens.
    """
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    own = [
        value
        for name, value in config.items()
        if name.endswith("_token") and name not in NAMED_TOKENS and isinstance(value, (str, dict))
    ]
    named = any(
        name.endswith("_token") and name not in STANDARD_NAMES and isinstance(value, str)
        for name, value in config.items()
    )
    specific = config.get("model_specific_special_tokens")
    if isinstance(specific, dict) and not named and not isinstance(extra, dict):
        own += specific.values()
    return [*(extra.values() if isinstance(extra, dict) else extra), *own]


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _token(token: Any, *, special: bool = False) -> AddedToken:
    if not isinstance(token, dict):
        return AddedToken(str(token), special=special, normalized=not special)
    flags = {
        name: bool(token[name])
        for name in ("single_word", "lstrip", "rstrip", "normalized")
        if token.get(name) is not None
    }
    return AddedToken(token["content"], special=special or bool(token.get("special")), **flags)
