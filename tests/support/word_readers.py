"""Checkpoints that read words one by one, so that a test knows what a text must give.

"good" begins what they look for and "book" goes on with it. Near the first and last positions of a full
window they are blind: whatever stands there, they see nothing.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import VOCABULARY, write_checkpoint

BEGIN, GO_ON = "good", "book"
WINDOW = 18
"""Tokens of a full window, its two special tokens included."""
BLIND = 2
"""Tokens at either end of a full window that are not seen."""


def write_tagger(folder: Path) -> Path:
    """A token classifier with the labels O, B-X and I-X."""
    write_checkpoint(
        folder, "distilbert", "token-classification", labels=("O", "B-X", "I-X"), layers=1, max_positions=64
    )
    return _rewrite(folder, "classifier", [[0, 0, 9, 30], [9, 0, 0, 0], [0, 9, 0, 0]])


def write_answerer(folder: Path) -> Path:
    """A question answerer: answers start at "good" and end at the last "book"."""
    write_checkpoint(folder, "distilbert", "question-answering", layers=1, max_positions=64)
    return _rewrite(folder, "qa_outputs", [[9, 0, 0, 0], [0, 9, 0, 0]])


def _rewrite(folder: Path, head: str, rows: list[list[float]]) -> Path:
    """Make a state of a token's word and position alone, of which the head reads four features."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name, value in weights.items():
        if name.endswith(("out_lin.weight", "out_lin.bias", "lin2.weight", "lin2.bias", "bias")):
            value.zero_()
        if "norm" in name.lower() and name.endswith("weight"):
            value.fill_(1.0)
    words = weights["distilbert.embeddings.word_embeddings.weight"].zero_()
    words[:, 2] = 1.0
    for feature, word in enumerate((BEGIN, GO_ON)):
        words[VOCABULARY.index(word), 2] = 0.0
        words[VOCABULARY.index(word), feature] = 1.0
    positions = weights["distilbert.embeddings.position_embeddings.weight"].zero_()
    seen = range(1 + BLIND, WINDOW - 1 - BLIND)
    for position in range(len(positions)):
        if position not in seen and position < WINDOW:
            positions[position, 3] = 4.0
    matrix = torch.zeros_like(weights[f"{head}.weight"])
    matrix[:, :4] = torch.tensor(rows)
    weights[f"{head}.weight"] = matrix
    save_file(weights, path, metadata={"format": "pt"})
    return folder
