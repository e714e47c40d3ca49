"""The cut of a long text before tokenization, if only its first tokens are needed and stay the same.

BERT's rules always split a text at white space, at punctuation and around ideographs, so the tokens before
such a boundary do not depend on the text after it. Only added tokens (such as `[MASK]`), which are cut out of
the text first, can cross a boundary: by at most their own length and the word in which they begin.
"""

import re
from dataclasses import dataclass
from typing import Self

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

BOUNDARY = re.compile(r"[ \t\n\r!-/:-@\[-`{-~\u3000]")
BOUNDARY_OR_IDEOGRAPH = re.compile(r"[ \t\n\r!-/:-@\[-`{-~\u3000\u4e00-\u9fff]")
CHARACTERS_PER_TOKEN = 8
"""Characters per token of the first attempt: more than nearly all text has, so a second one is rare."""
PIECES_PER_CHARACTER = 4
"""Largest number of word pieces per character: a Hangul syllable is decomposed into three letters."""


@dataclass(frozen=True, slots=True)
class EarlyCut:
    """The cut for one tokenizer: before a character that matches `boundary`.

    The text after the cut could have changed at most the last `spare` tokens before it.
    """

    boundary: re.Pattern[str]
    spare: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self | None:
        """Return the cut for a tokenizer, None if the tokenizer does not follow BERT's rules."""
        normalizer, model = _without_lowercase(tokenizer.normalizer), tokenizer.model
        if (
            not isinstance(normalizer, normalizers.BertNormalizer)
            or not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
            or not isinstance(model, models.WordPiece)
        ):
            return None
        boundary = BOUNDARY_OR_IDEOGRAPH if normalizer.handle_chinese_chars else BOUNDARY
        added = tokenizer.get_added_tokens_decoder().values()
        # A token cut out of the raw text decides about those cut out of the normalized text.
        reach = sum(
            max((len(token.content) for token in added if token.normalized == normalized), default=0)
            for normalized in (False, True)
        )
        # With its rest a word may be unknown: then one token takes the place of many.
        inside_words = any(not boundary.match(token.content) for token in added)
        word = model.max_input_chars_per_word if inside_words else 0
        return cls(boundary, (reach + 1) * PIECES_PER_CHARACTER + word)

    def prefix(self, text: str, tokens: int, *, attempt: int = 0) -> str:
        """Return a prefix of the text that should have so many safe tokens; each attempt is longer."""
        characters = (tokens + self.spare) * CHARACTERS_PER_TOKEN << attempt
        if len(text) <= characters:
            return text
        found = self.boundary.search(text, characters)
        return text[: found.start()] if found else text

    def suffices(self, prefix: str, text: str, found: int, tokens: int) -> bool:
        """Return whether the first `tokens` of a prefix's `found` tokens are certainly those of the text."""
        return len(prefix) == len(text) or found >= tokens + self.spare


def _without_lowercase(normalizer: normalizers.Normalizer | None) -> normalizers.Normalizer | None:
    """Return BERT's normalization if it is only preceded by lower-casing, which looks at one character."""
    if not isinstance(normalizer, normalizers.Sequence):
        return normalizer
    first, *rest = list(normalizer)  # type: ignore[call-overload]
    return rest[0] if isinstance(first, normalizers.Lowercase) and len(rest) == 1 else normalizer
