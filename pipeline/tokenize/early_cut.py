"""Cutting a text before tokenization where only its first tokens are wanted, without changing those.

BERT's rules split a text at white space, at punctuation and around ideographs whatever stands beside them,
so the tokens before such a place do not depend on what follows it. Only tokens that are cut out of the
text first (`[MASK]`, added tokens) can reach across it: no farther than their own length, and the word that
one of them begins in.
"""

import re
from dataclasses import dataclass
from typing import Self

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

BOUNDARY = re.compile(r"[ \t\n\r!-/:-@\[-`{-~\u3000]")
BOUNDARY_OR_IDEOGRAPH = re.compile(r"[ \t\n\r!-/:-@\[-`{-~\u3000\u4e00-\u9fff]")
CHARACTERS_PER_TOKEN = 8
"""Of the first attempt: more than nearly all text has, so that a second one is rare."""
PIECES_PER_CHARACTER = 4
"""A character's pieces at most: a Hangul syllable is decomposed into three letters."""


@dataclass(frozen=True, slots=True)
class EarlyCut:
    """How a tokenizer's texts may be cut: `boundary` matches a character that the rest may begin with.

    `spare` is the number of last tokens of a cut text that the rest could have changed.
    """

    boundary: re.Pattern[str]
    spare: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self | None:
        """Return the rule for a tokenizer, None for one that does not follow BERT's rules."""
        normalizer, model = tokenizer.normalizer, tokenizer.model
        if (
            not isinstance(normalizer, normalizers.BertNormalizer)
            or not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
            or not isinstance(model, models.WordPiece)
        ):
            return None
        boundary = BOUNDARY_OR_IDEOGRAPH if normalizer.handle_chinese_chars else BOUNDARY
        added = tokenizer.get_added_tokens_decoder().values()
        # One cut out of the raw text decides about those cut out of the normalized text.
        reach = sum(
            max((len(token.content) for token in added if token.normalized == normalized), default=0)
            for normalized in (False, True)
        )
        # The rest of a word may be unknown, which is one token in place of a word's many.
        inside_words = any(not boundary.match(token.content) for token in added)
        word = model.max_input_chars_per_word if inside_words else 0
        return cls(boundary, (reach + 1) * PIECES_PER_CHARACTER + word)

    def prefix(self, text: str, tokens: int, *, attempt: int = 0) -> str:
        """Return a beginning of the text that should have this many safe tokens; each attempt is longer."""
        characters = (tokens + self.spare) * CHARACTERS_PER_TOKEN << attempt
        if len(text) <= characters:
            return text
        found = self.boundary.search(text, characters)
        return text[: found.start()] if found else text

    def suffices(self, prefix: str, text: str, found: int, tokens: int) -> bool:
        """Say whether the first `tokens` of the `found` tokens of a prefix are surely the text's."""
        return len(prefix) == len(text) or found >= tokens + self.spare
