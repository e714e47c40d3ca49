"""The sequences that go through a model: texts cut or windowed, with special tokens around them.

A window is a range of a text's tokens. With `truncate` each text has one window: its beginning, or its end if
the tokenizer truncates on the left. With `window` it has as many as it needs, from its beginning, and
neighbours share `stride` tokens, at most half a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from tokenizers import Tokenizer

from corpusmill.pipeline.encode.items import TokenTable
from corpusmill.pipeline.errors import TokenizerError
from corpusmill.pipeline.ragged import Array, Int, Ragged, ranges
from corpusmill.pipeline.tokenize.settings import TokenizerSettings


@dataclass(frozen=True, slots=True)
class Windows:
    """K windows, those of a text in order: window k is the tokens `start[k]` to `stop[k]` of text `of[k]`.

    `cut` (K,): some tokens are in no window.
    """

    of: Int
    start: Int
    stop: Int
    cut: Array


@dataclass(frozen=True, slots=True)
class Sequences:
    """N model inputs laid end to end, those of an item together and in order.

    `tokens` has their ids, `types` (T,) the token types or None. Sequence n belongs to part `part[n]` (a
    question, a label, a choice; else 0) of item `item[n]`. It has the tokens `start[n]` to `stop[n]` of the
    item's text, and the first of these is at position `at[n]` of the sequence. `cut[n]`: tokens of one of its
    texts are in no sequence.
    """

    tokens: Ragged
    types: Int | None
    item: Int
    part: Int
    start: Int
    stop: Int
    at: Int
    cut: Array

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def groups(self) -> Int:
        """The first sequence of each (item, part), and the number of sequences at the end."""
        change = (np.diff(self.item, prepend=-1) != 0) | (np.diff(self.part, prepend=-1) != 0)
        return np.concatenate((np.flatnonzero(change), [len(self)]))

    def take(self, chosen: Int) -> "Sequences":
        """Return some of the sequences, in the order given."""
        where = ranges(self.tokens.offsets[:-1][chosen], self.tokens.lengths[chosen])
        types = None if self.types is None else self.types[where]
        rest = (self.item, self.part, self.start, self.stop, self.at, self.cut)
        return Sequences(self.tokens.take(chosen), types, *(values[chosen] for values in rest))


# The special tokens around texts, `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, and the token types.


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens before, between and after the texts, each as (id, type), and the texts' types."""

    specials: tuple[tuple[tuple[int, int], ...], ...]
    types: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of special tokens."""
        return sum(map(len, self.specials))

    @property
    def highest_type(self) -> int:
        """The highest token type of the texts and of the special tokens."""
        return max(chain(self.types, (type_ for each in self.specials for _, type_ in each)), default=0)

    def without_types(self) -> "Frame":
        """Return the frame with type 0 everywhere, which a model assumes if it gets no types."""
        specials = tuple(tuple((id_, 0) for id_, _ in each) for each in self.specials)
        return Frame(specials, (0,) * len(self.types))


@dataclass(frozen=True, slots=True)
class Template:
    """The frames of a single text and of a pair."""

    single: Frame
    pair: Frame


@dataclass(frozen=True)
class Layout:
    """The rules by which one model's texts become sequences of at most `max_length` tokens.

    `stride` is None for truncation. `cut_left`: truncation keeps the end of a text.
    """

    tokenizer: Tokenizer
    template: Template
    max_length: int
    stride: int | None
    cut_left: bool = False

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, max_length: int, stride: int | None, settings: TokenizerSettings
    ) -> "Layout":
        """Return the layout with the special tokens and the settings of a tokenizer."""
        template = read_template(tokenizer)
        if not settings.gives_token_types:
            template = Template(template.single.without_types(), template.pair.without_types())
        return cls(tokenizer, template, max_length, stride, settings.cuts_left)

    def tokenize(self, texts: Sequence[str]) -> Ragged:
        """Tokenize a few texts of the job itself, such as questions, without special tokens."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        flat = np.fromiter(chain.from_iterable(ids), np.int32)
        return Ragged.of_lengths(flat, np.array([len(one) for one in ids], np.int64))

    def singles(self, texts: Ragged, rows: Int) -> Sequences:
        """Lay out item i as text `rows[i]` alone."""
        frame = self.template.single
        room = np.full(len(rows), self.max_length - frame.size)
        windows = cut_windows(texts.lengths[rows], room, self.stride, left=self.cut_left)
        part = np.zeros(len(windows.of), np.int64)
        text = _Segment(texts, rows[windows.of], windows.start, windows.stop)
        return _assemble(frame, (text,), 0, windows, windows.of, part)

    def pairs_cut_longest(self, first: TokenTable, second: TokenTable, pairs: "Pairs") -> Sequences:
        """Lay out pairs whose longer text is cut until both fit, as `longest_first` of tokenizers."""
        frame = self.template.pair
        room = self.max_length - frame.size
        lengths = first.lengths[pairs.first], second.lengths[pairs.second]
        kept = cut_longest_first(*lengths, room)
        starts = [
            length - each if self.cut_left else np.zeros_like(each)
            for length, each in zip(lengths, kept, strict=True)
        ]
        cut = (kept[0] < lengths[0]) | (kept[1] < lengths[1])
        windows = Windows(np.arange(len(pairs.item)), starts[0], starts[0] + kept[0], cut)
        segments = (
            _Segment(first.ids, pairs.first, starts[0], starts[0] + kept[0]),
            _Segment(second.ids, pairs.second, starts[1], starts[1] + kept[1]),
        )
        return _assemble(frame, segments, 0, windows, pairs.item, pairs.part)

    def pairs_cut_text(
        self, texts: Ragged, other: Ragged, pairs: "Pairs", *, text_first: bool = True
    ) -> Sequences:
        """Lay out pairs whose text (`pairs.first`) is cut or windowed, and whose other text stays whole.

        A pair that fits is never cut. With truncation, the other text is cut only if it leaves no room at
        all, to half the room. With windows, it is also cut if it is longer than the text and than half the
        room, or leaves the text less than a quarter of it. `text_first=False` puts it before the text.
        """
        lengths, beside = texts.lengths[pairs.first], other.lengths[pairs.second]
        kept = self._kept_beside(lengths, beside)
        windows = self._pair_windows(lengths, beside, kept)
        text = _Segment(texts, pairs.first[windows.of], windows.start, windows.stop)
        second = self._whole(other, pairs.second, kept, windows.of)
        return self._pair_sequences(text, second, windows, pairs, text_first=text_first)

    def pairs_in_windows(self, first: Ragged, second: Ragged, pairs: "Pairs") -> Sequences:
        """Lay out pairs whose longer text is windowed if they do not fit; the shorter one is in each window.

        The shorter text is cut only if it leaves the longer one less than a quarter of the room. `start` and
        `stop` of the sequences are those of the longer text.
        """
        lengths = first.lengths[pairs.first], second.lengths[pairs.second]
        second_longer = lengths[1] > lengths[0]
        long, short = np.maximum(*lengths), np.minimum(*lengths)
        kept = self._kept_beside(long, short)
        windows = self._pair_windows(long, short, kept)
        of, swapped = windows.of, second_longer[windows.of]
        whole = self._whole(first, pairs.first, kept, of), self._whole(second, pairs.second, kept, of)
        text, beside = (
            _Segment(
                texts,
                rows[of],
                np.where(windowed, windows.start, other.start),
                np.where(windowed, windows.stop, other.stop),
            )
            for texts, rows, windowed, other in (
                (first, pairs.first, ~swapped, whole[0]),
                (second, pairs.second, swapped, whole[1]),
            )
        )
        return self._pair_sequences(text, beside, windows, pairs, text_first=True)

    def _kept_beside(self, text: Int, beside: Int) -> Int:
        """Return how many tokens of the texts beside cut or windowed texts are kept, in each window.

        All, if at least `least` tokens of the other text have room. Truncation leaves it a single token, as
        transformers does (`only_first`), which refuses a pair with room for none.
        """
        room = self.max_length - self.template.pair.size
        least = np.where(beside > text, room // 2, room // 4)
        if self.stride is None:
            least[beside < room] = 1
        least = np.maximum(least, 1)
        kept: Int = np.minimum(beside, room - np.minimum(text, least))
        return kept

    def _whole(self, texts: Ragged, rows: Int, kept: Int, of: Int) -> "_Segment":
        """Return `kept` tokens of each text, in all its windows."""
        start = texts.lengths[rows] - kept if self.cut_left else np.zeros_like(kept)
        return _Segment(texts, rows[of], start[of], (start + kept)[of])

    def _pair_windows(self, lengths: Int, beside: Int, kept: Int) -> Windows:
        """Return the windows of texts, each with `kept` tokens of the text beside it."""
        room = self.max_length - self.template.pair.size - kept  # 0 beside an empty text
        windows = cut_windows(lengths, np.maximum(room, 1), self.stride, left=self.cut_left)
        return replace(windows, cut=windows.cut | (kept < beside)[windows.of])

    def _pair_sequences(
        self, text: "_Segment", beside: "_Segment", windows: Windows, pairs: "Pairs", *, text_first: bool
    ) -> Sequences:
        segments, place = ((text, beside), 0) if text_first else ((beside, text), 1)
        of = windows.of
        return _assemble(self.template.pair, segments, place, windows, pairs.item[of], pairs.part[of])


@dataclass(frozen=True, slots=True)
class Pairs:
    """P pairs: text `first[p]` with text `second[p]`, as part `part[p]` of item `item[p]`."""

    item: Int
    part: Int
    first: Int
    second: Int


def row_pairs(first: Int, second: Int) -> Pairs:
    """Return one pair per item: its text with its second text."""
    return Pairs(np.arange(len(first)), np.zeros(len(first), np.int64), first, second)


def cut_windows(lengths: Int, room: Int, stride: int | None, *, left: bool = False) -> Windows:
    """Return the windows of texts with these lengths; a window of text i has at most `room[i]` tokens.

    `left`: a text that is truncated keeps its end.
    """
    if stride is None:
        kept = np.minimum(lengths, room)
        start = lengths - kept if left else np.zeros(len(lengths), np.int64)
        return Windows(np.arange(len(lengths)), start, start + kept, kept < lengths)
    step = room - np.minimum(stride, room // 2)
    counts = 1 + np.ceil(np.maximum(lengths - room, 0) / step).astype(np.int64)
    of = np.repeat(np.arange(len(lengths)), counts)
    start = ranges(np.zeros(len(counts), np.int64), counts) * step[of]
    return Windows(of, start, np.minimum(start + room[of], lengths[of]), np.zeros(len(of), bool))


def cut_longest_first(first: Int, second: Int, room: int) -> tuple[Int, Int]:
    """Return the tokens kept of both texts of each pair, as `longest_first` of the tokenizers library."""
    short = np.minimum(first, second)
    kept_long = np.maximum(short, room - short)
    both = short + kept_long > room
    kept_short = np.where(both, room // 2, short)
    kept_long = np.where(both, room // 2 + room % 2, kept_long)
    fits = first + second <= room
    kept_first = np.where(first > second, kept_long, kept_short)
    kept_second = np.where(first > second, kept_short, kept_long)
    return np.where(fits, first, kept_first), np.where(fits, second, kept_second)


@dataclass(frozen=True, slots=True)
class _Segment:
    """One text's part of each sequence: tokens `start` to `stop` of text `rows`."""

    texts: Ragged
    rows: Int
    start: Int
    stop: Int


def _assemble(
    frame: Frame, segments: tuple[_Segment, ...], text: int, windows: Windows, item: Int, part: Int
) -> Sequences:
    """Return the segments with special tokens around them, without sequences that have no token."""
    lengths = [segment.stop - segment.start for segment in segments]
    total: Int = frame.size + np.sum(lengths, axis=0)
    tokens = np.empty(int(total.sum()), np.int32)
    types = np.zeros(len(tokens), np.int8)
    place = np.cumsum(total) - total
    first_of_text = place
    for index, specials in enumerate(frame.specials):
        for id_, type_ in specials:
            tokens[place], types[place] = id_, type_
            place = place + 1
        if index < len(segments):
            segment, length = segments[index], lengths[index]
            if index == text:
                first_of_text = place
            there = ranges(place, length)
            source = ranges(segment.texts.offsets[:-1][segment.rows] + segment.start, length)
            tokens[there], types[there] = segment.texts.values[source], frame.types[index]
            place = place + length
    at = first_of_text - (np.cumsum(total) - total)
    kept = total > 0
    return Sequences(
        Ragged.of_lengths(tokens, total[kept]),
        types if len(segments) > 1 or types.any() else None,
        item[kept],
        part[kept],
        windows.start[kept],
        windows.stop[kept],
        at[kept],
        windows.cut[kept],
    )


def read_template(tokenizer: Tokenizer) -> Template:
    """Return the special tokens that a tokenizer adds, read from the encoding of a sample."""
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
