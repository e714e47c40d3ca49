"""Texts as padded batches of token ids, for the training scripts."""

from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer

from wordpiece import PAD


def encode(tokenizer: Tokenizer, texts: list[str], *, length: int) -> list[torch.Tensor]:
    """Return the first `length` token ids of each text, [CLS] and [SEP] included."""
    tokenizer.enable_truncation(length)
    ids = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    tokenizer.no_truncation()
    return ids


def batches(ids: Sequence[torch.Tensor], *, tokens: int, shuffle: bool) -> Iterator[torch.Tensor]:
    """Yield indices of texts of similar length, at most `tokens` with padding (or one text)."""
    lengths = torch.tensor([len(x) for x in ids])
    order = torch.argsort(lengths + (8 * torch.rand(len(ids)) if shuffle else 0), stable=True)
    # 8: with the random term above, an earlier text can be at most this much longer.
    groups, start = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * (lengths[order[end]] + 8) > tokens:
            groups.append(order[start:end])
            start = end
    for index in torch.randperm(len(groups)) if shuffle else range(len(groups)):
        yield groups[index]


def pad(ids: Sequence[torch.Tensor], indices: torch.Tensor) -> torch.Tensor:
    """Return the sequences of these indices, padded to the longest."""
    return torch.nn.utils.rnn.pad_sequence([ids[i] for i in indices], batch_first=True, padding_value=PAD)
