"""Train the demo's small BERT: masked words, and whether a sentence follows another.

    python training/train_words.py [--output DIR]

Its word vectors start as those of stdlib-sections, because the corpus is too small to learn them from masks
alone. A loss keeps the logsumexp of the word scores near `level`, so that a score above 0 means a likely word
and the same head gives sparse vectors, which keep scores above 0 (SPLADE). At [CLS] and [SEP] the level is 0,
because no word is likely there.
"""

import argparse
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer
from transformers import BertConfig, BertForPreTraining

from bert import (
    POSITIONS,
    PRETRAINED,
    VOCABULARY_OF,
    Batch,
    Example,
    Training,
    demo_tokenizer,
    fit,
    save,
    seed,
)
from held_out import split_texts, write_metrics
from sentences import Neighbours, neighbours, other_seconds
from word_scores import mask_scores, next_sentence_scores, sparse_scores
from wordpiece import CLS, MASK, PAD, SEP, SPECIAL_TOKENS

UNKNOWN = -100
"""The target of a text that is no pair, which has no next-sentence loss."""
WORD_VECTORS = "distilbert.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Recipe(Training):
    """The settings that decide the weights, besides the corpus."""

    epochs: int = 10
    learning_rate: float = 2e-3
    layers: int = 2
    heads: int = 4
    inner_width: int = 192
    dropout: float = 0.05
    initializer_range: float = 0.1  # 0.02 is for a width of 768; narrow layers need more to start moving
    embedding_scale: float = 0.1
    masked: float = 0.2
    level: float = 4.0
    level_weight: float = 0.02


def build_model(recipe: Recipe) -> BertForPreTraining:
    vectors = load_file(VOCABULARY_OF / "model.safetensors")[WORD_VECTORS]
    config = BertConfig(
        vocab_size=vectors.shape[0],
        hidden_size=vectors.shape[1],
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.inner_width,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=0.0,
        initializer_range=recipe.initializer_range,
        pad_token_id=PAD,
    )
    model = BertForPreTraining(config)
    scaled = vectors * (recipe.embedding_scale / vectors.std())
    model.bert.embeddings.word_embeddings.weight.data.copy_(scaled)
    for layer in model.bert.encoder.layer:
        # Equal queries and keys let similar words attend to each other, which helps to compare two sentences.
        attention = layer.attention.self
        attention.key.weight.data.copy_(attention.query.weight.data)
    return model


def epoch_examples(
    tokenizer: Tokenizer, texts: list[str], pairs: list[Neighbours], rng: random.Random
) -> list[Example]:
    """Return every text and every pair, half of the pairs with a second sentence of another one."""
    follows = [rng.random() < 0.5 for _ in pairs]
    shown = [
        (pair.first, pair.second if right else other_seconds(pair, pairs, 1, rng)[0])
        for pair, right in zip(pairs, follows, strict=True)
    ]
    singles: list[Encoding] = tokenizer.encode_batch(texts)
    encoded: list[Encoding] = tokenizer.encode_batch(shown)
    return [
        *(Example([text], (UNKNOWN,)) for text in singles),
        *(Example([pair], (int(not right),)) for pair, right in zip(encoded, follows, strict=True)),
    ]


def loss_of(model: BertForPreTraining, batch: Batch, recipe: Recipe) -> torch.Tensor:
    """Return the loss of masked words, next sentence and level."""
    ids, inputs = batch.input_ids, batch.inputs
    chosen = (ids >= len(SPECIAL_TOKENS)) & (torch.rand(ids.shape) < recipe.masked)
    edges = ((ids == CLS) | (ids == SEP)) & (torch.rand(ids.shape) < recipe.masked)
    inputs["input_ids"] = _masked_input(ids, chosen, vocabulary=model.config.vocab_size)
    states, summary = model.bert(**inputs)[:2]
    words, follows = model.cls.predictions(states[chosen]), model.cls.seq_relationship(summary)
    off_level = torch.cat(
        [words.logsumexp(-1) - recipe.level, model.cls.predictions(states[edges]).logsumexp(-1)]
    )
    loss = F.cross_entropy(words, ids[chosen]) + recipe.level_weight * off_level.square().mean()
    known = batch.targets[:, 0]
    if (known != UNKNOWN).any():
        loss = loss + F.cross_entropy(follows, known, ignore_index=UNKNOWN)
    return loss


def _masked_input(ids: torch.Tensor, chosen: torch.Tensor, *, vocabulary: int) -> torch.Tensor:
    """Return ids of which 80 % of the chosen are masks, 10 % random, 10 % unchanged (Devlin et al. 2019)."""
    dice = torch.rand(ids.shape)
    others = torch.randint(len(SPECIAL_TOKENS), vocabulary, ids.shape)
    return torch.where(chosen & (dice < 0.8), MASK, torch.where(chosen & (dice >= 0.9), others, ids))


def train(texts: list[str], recipe: Recipe) -> Any:
    rng = seed(recipe.seed)
    tokenizer, pairs = demo_tokenizer(recipe.length), neighbours(texts)
    model = build_model(recipe)
    fit(
        model,
        lambda: epoch_examples(tokenizer, texts, pairs, rng),
        lambda model, batch: loss_of(model, batch, recipe),
        recipe,
    )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=PRETRAINED)
    folder, recipe = parser.parse_args().output, Recipe()
    known, held_out = split_texts()
    start = time.process_time()
    model = train(known, recipe)
    seconds = time.process_time() - start
    save(model, folder)
    scores = {
        "fill_mask": mask_scores(folder, known, held_out),
        "next_sentence": next_sentence_scores(folder, known, held_out),
        "sparse": sparse_scores(folder, known),
    }
    write_metrics(folder, scores, recipe=asdict(recipe), seconds=seconds)


if __name__ == "__main__":
    main()
