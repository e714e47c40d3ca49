"""What a tokenizer puts around texts: `[CLS] A [SEP]`, `[CLS] A [SEP] B [SEP]`, and their token types."""

from dataclasses import dataclass

from tokenizers import Tokenizer

from corpusmill.pipeline.errors import TokenizerError


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens before, between and after the texts, each as (id, type), and the texts' types."""

    specials: tuple[tuple[tuple[int, int], ...], ...]
    types: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of special tokens."""
        return sum(map(len, self.specials))


@dataclass(frozen=True, slots=True)
class Template:
    """The frames of a single text and of a pair."""

    single: Frame
    pair: Frame


def read_template(tokenizer: Tokenizer) -> Template:
    """Find out by trying what a tokenizer adds."""
    word = min(tokenizer.get_vocab().items(), key=lambda item: item[1])[0]
    return Template(_frame(tokenizer, word), _frame(tokenizer, word, word))


def _frame(tokenizer: Tokenizer, *texts: str) -> Frame:
    encoding = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
    specials: list[list[tuple[int, int]]] = [[]]
    types: list[int] = []
    for id_, type_, sequence in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
        if sequence is None:
            specials[-1].append((id_, type_))
        elif sequence == len(types):
            types.append(type_)
            specials.append([])
    if len(types) != len(texts) or encoding.n_sequences != len(texts):
        raise TokenizerError(
            f"expected a tokenizer that puts special tokens around {len(texts)} text(s) in order, got "
            f"{' '.join(encoding.tokens)}; save the tokenizer again"
        )
    return Frame(tuple(map(tuple, specials)), tuple(types))
