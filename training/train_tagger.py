"""Train the demo's tagger: versions, URLs, references, exceptions and dotted names in documentation.

    python training/train_tagger.py [--output DIR] [--split text|module]

A ConvBERT from random weights: its convolutions read a token's neighbours, which decide such spans. With
padding, convolutions would read padding tokens beyond a text's end, so a batch has sequences of one length.
"""

import argparse
import json
import platform
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import ConvBertConfig, ConvBertForTokenClassification

from corpusmill.jobs.demo.corpus import collect
from corpusmill.jobs.demo.spans import LABELS, Span, true_spans
from optimization import optimizer_with_schedule
from span_scores import found_spans, remembered_spans, span_scores
from split import falls_below, is_held_out
from variants import Example, Shares, Variants
from wordpiece import CLS, DEMO, PAD, SEP, save_tokenizer, train_tokenizer

TAGS = ["O", *(f"{part}-{label}" for label in LABELS for part in "BI")]
AGGREGATIONS = ("first", "simple")
UNTAGGED = -100  # of [CLS] and [SEP]: no loss
# BERT's own splitting makes the same tokens of "done. Next" and "os.path". Here a punctuation mark includes
# the white space beside it, except "/" and ")", which can end a URL; an underscore belongs to its word.
WORDS = r"\w+|[/)]|\s?[^\w\s/)]\s?"

Tagged = tuple[list[int], list[int]]
"""Token ids and the tag of each."""
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """The settings that decide the weights, besides the corpus."""

    seed: int = 0
    vocabulary: int = 2000
    width: int = 96
    layers: int = 2
    heads: int = 4
    inner_width: int = 192
    kernel: int = 9
    positions: int = 256
    batch_tokens: int = 2048
    epochs: int = 20
    texts_without_spans: float = 0.6  # share of them in an epoch; texts with spans are in every epoch
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    dropout: float = 0.1
    initializer_range: float = 0.05
    replaced_spans: float = 0.6
    strange_spans: float = 0.3  # share of the replaced spans whose replacement has any label, or none
    replaced_words: float = 0.15  # of those that are in no span


def split_corpus(by: str) -> tuple[list[Example], list[Example]]:
    """Return training and held-out texts with their spans, split by text or by module."""
    sides: tuple[list[Example], list[Example]] = ([], [])
    for document in collect():
        held_out = is_held_out(document.text) if by == "text" else falls_below(document.module)
        sides[held_out].append((document.text, true_spans(document.text)))
    return sides


def build_model(recipe: Recipe) -> ConvBertForTokenClassification:
    config = ConvBertConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        embedding_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.inner_width,
        conv_kernel_size=recipe.kernel,
        max_position_embeddings=recipe.positions,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=0.0,
        initializer_range=recipe.initializer_range,
        id2label=dict(enumerate(TAGS)),
        label2id={tag: index for index, tag in enumerate(TAGS)},
        pad_token_id=PAD,
        bos_token_id=CLS,
        eos_token_id=SEP,
    )
    return ConvBertForTokenClassification(config)


def tagged(tokenizer: Tokenizer, examples: list[Example]) -> Iterator[Tagged]:
    """Yield each text without [CLS] and [SEP]; all pieces of a word are tagged."""
    encodings = tokenizer.encode_batch([text for text, _ in examples], add_special_tokens=False)
    for encoding, (_, spans) in zip(encodings, examples, strict=True):
        yield encoding.ids, [tag_of(start, end, spans) for start, end in encoding.offsets]


def tag_of(start: int, end: int, spans: list[Span]) -> int:
    for span in spans:
        if span.start <= start and end <= span.end:
            return TAGS.index(f"{'B' if start == span.start else 'I'}-{span.label}")
    return 0


def windows(text: Tagged, *, length: int) -> Iterator[Tagged]:
    """Yield windows of a text, cut between spans; the first cut is random, so that epochs differ."""
    ids, tags = text
    start, content = 0, length - 2
    end = len(ids) if len(ids) <= content else random.randint(1, content)
    while start < len(ids):
        # A cut after the dot of a name would look like the end of a sentence.
        whole = next((cut for cut in range(end, start, -1) if cut == len(ids) or tags[cut] == 0), end)
        yield [CLS, *ids[start:whole], SEP], [UNTAGGED, *tags[start:whole], UNTAGGED]
        start, end = whole, min(whole + content, len(ids))


def batches(sequences: list[Tagged], *, tokens: int) -> list[Batch]:
    """Return batches of sequences of one length, at most `tokens` each (or one sequence), in random order."""
    by_length: dict[int, list[Tagged]] = defaultdict(list)
    for sequence in random.sample(sequences, len(sequences)):
        by_length[len(sequence[0])].append(sequence)
    groups = [
        group[start : start + max(1, tokens // length)]
        for length, group in by_length.items()
        for start in range(0, len(group), max(1, tokens // length))
    ]
    random.shuffle(groups)
    return [tuple(torch.tensor(side) for side in zip(*group, strict=True)) for group in groups]


def epoch_batches(
    tokenizer: Tokenizer, examples: list[Example], variants: Variants, recipe: Recipe
) -> list[Batch]:
    """Return the batches of an epoch, of varied and cut texts."""
    shares = Shares(recipe.replaced_spans, recipe.strange_spans, recipe.replaced_words)
    chosen = [example for example in examples if example[1] or random.random() < recipe.texts_without_spans]
    varied = [variants.vary(example, shares) for example in chosen]
    cut = [window for text in tagged(tokenizer, varied) for window in windows(text, length=recipe.positions)]
    return batches(cut, tokens=recipe.batch_tokens)


def train(examples: list[Example], recipe: Recipe) -> tuple[Tokenizer, ConvBertForTokenClassification]:
    random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(
        [text for text, _ in examples],
        vocabulary=recipe.vocabulary,
        lowercase=False,
        words=pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
    )
    model = build_model(recipe).train()
    variants = Variants.of(examples)
    steps = recipe.epochs * len(epoch_batches(tokenizer, examples, variants, recipe))
    optimizer, schedule = optimizer_with_schedule(
        model, steps=steps, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    for epoch in range(recipe.epochs):
        losses = []
        for input_ids, tags in epoch_batches(tokenizer, examples, variants, recipe):
            logits = model(input_ids).logits
            loss = F.cross_entropy(logits.flatten(0, 1), tags.flatten(), ignore_index=UNTAGGED)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{recipe.epochs}: loss {sum(losses) / len(losses):.4f}",
            file=sys.stderr,
            flush=True,
        )
    return tokenizer, model.eval()


def measure(folder: Path, known: list[Example], held_out: list[Example]) -> dict[str, object]:
    """Return the scores of the saved checkpoint, by aggregation, and of the baseline."""
    texts, truth = [text for text, _ in held_out], [spans for _, spans in held_out]
    scores: dict[str, object] = {}
    for aggregation in AGGREGATIONS:
        scores[aggregation] = span_scores(truth, found_spans(folder, texts, aggregation=aggregation))
    return {**scores, "memory_baseline": span_scores(truth, remembered_spans(known, texts))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DEMO / "stdlib-spans")
    parser.add_argument("--split", choices=["text", "module"], default="text")
    options = parser.parse_args()
    torch.set_num_threads(1)  # two threads take four times the CPU time of one, with matrices this small
    recipe, (known, held_out), start = Recipe(), split_corpus(options.split), time.process_time()
    tokenizer, model = train(known, recipe)
    seconds = time.process_time() - start
    model.save_pretrained(options.output)
    save_tokenizer(tokenizer, options.output, of="PreTrainedTokenizerFast", max_length=recipe.positions)
    metrics = {
        **measure(options.output, known, held_out),
        "documents": {"train": len(known), "held_out": len(held_out)},
        "cpu_seconds": round(seconds),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "recipe": asdict(recipe),
    }
    (options.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
