"""The effect of fewer bits on vectors, their neighbours, and labels, against float32 on real documents."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from corpusmill.jobs.bench import Findings, Settings, Table
from corpusmill.jobs.bench.texts import packed_batches, texts_of
from corpusmill.jobs.demo.job import CLASSIFIER, minilm, shipped
from corpusmill.models import load_model
from corpusmill.pipeline.checkpoints.find import find_checkpoint
from measurement import main

EXACT = "float32"
NEIGHBOURS = 10
FEWEST = 2 * NEIGHBOURS
"""The fewest documents with which neighbours are meaningful."""


def measure(settings: Settings, work: Path) -> Findings:
    """Embed documents with all-MiniLM-L6-v2 and label them with the bundled classifier, in each dtype."""
    texts = texts_of(settings)
    rough = [dtype for dtype in settings.dtypes if dtype != EXACT]
    embedder = find_checkpoint(minilm()).folder
    vectors = {dtype: outputs(embedder, texts, dtype, settings) for dtype in (EXACT, *rough)}
    scores = {dtype: outputs(Path(shipped(CLASSIFIER)), texts, dtype, settings) for dtype in (EXACT, *rough)}
    rows = []
    for dtype in rough:
        cosines = torch.cosine_similarity(vectors[EXACT], vectors[dtype])
        same = scores[EXACT].argmax(1) == scores[dtype].argmax(1)
        rows.append(
            {
                "dtype": dtype,
                "cosine, mean": round(float(cosines.mean()), 6),
                "cosine, least": round(float(cosines.min()), 6),
                f"overlap of the {NEIGHBOURS} nearest": round(overlap(vectors[EXACT], vectors[dtype]), 4),
                "labels that agree": round(float(same.float().mean()), 4),
            }
        )
    title = "Fewer bits against float32"
    note = f"{len(texts)} documents; vectors of all-MiniLM-L6-v2, labels of the demo's classifier."
    return Findings(title, (Table("Agreement with float32", tuple(rows)),), (note,))


def outputs(folder: Path, texts: Sequence[str], dtype: str, settings: Settings) -> Tensor:
    """Return each text's embedding or class scores, in order."""
    model = load_model(folder, dtype=dtype)
    tokenizer = Tokenizer.from_file(str(model.checkpoint.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.checkpoint.max_seq_length or model.checkpoint.max_positions)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]), reverse=True)
    found = [model(batch) for batch in packed_batches(ids, budget=settings.tokens_per_batch)]
    name = "embeddings" if model.checkpoint.task == "embedding" else "logits"
    y_ND = torch.cat([getattr(output, name) for output in found]).float()
    return y_ND[torch.tensor(order).argsort()]


def overlap(exact_ND: Tensor, rough_ND: Tensor, *, nearest: int = NEIGHBOURS) -> float:
    """Return the mean share of each vector's nearest neighbours by cosine that are the same."""
    found = []
    for x_ND in (exact_ND, rough_ND):
        unit_ND = torch.nn.functional.normalize(x_ND.float(), dim=1)
        near_NN = (unit_ND @ unit_ND.T).fill_diagonal_(-2)
        found.append(near_NN.topk(min(nearest, len(x_ND) - 1), dim=1).indices)
    kept = (found[0][:, :, None] == found[1][:, None, :]).any(2)
    return float(kept.float().mean())


if __name__ == "__main__":
    main(__doc__, measure)
