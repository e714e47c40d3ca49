"""Cross-encoders of sentence-transformers, in old and new folders, give the scores that its library gives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.sentence_transformer import modules
from support.running import encoded
from support.tiny_checkpoints import write_checkpoint
from torch import nn

from corpusmill.jobs.config.schema import ModelConfig
from corpusmill.jobs.errors import ConfigError
from corpusmill.jobs.inspect import inspect_checkpoint
from corpusmill.jobs.resolve.model import model_spec, resolve_model
from corpusmill.models import read_checkpoint

LONG = "they watch the old house all night and the water run " * 12
QUERIES = ["the water runs", "who has the house", "good", LONG, "", "the night"]
PASSAGES = ["to the old house", "it is a good night", LONG, "and it runs", "night", ""]
pytestmark = pytest.mark.filterwarnings("ignore:Implicit dimension choice")  # as the library calls Softmax
EXACT = {"rtol": 1e-5, "atol": 1e-5}
OLDEST, OLDER = "sbert_ce_default_activation_function", "sentence_transformers"
LABELS = {1: ("LABEL_0",), 3: ("entailment", "neutral", "contradiction")}
TORCH = "torch.nn.modules"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Classifiers without a stated activation, by their number of labels."""
    root = tmp_path_factory.mktemp("plain")
    return {
        count: write_checkpoint(root / str(count), "bert", "text-classification", labels=labels)
        for count, labels in LABELS.items()
    }.__getitem__


def edit(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return path


def stating(plain: Path, folder: Path, **values: Any) -> Path:
    """A flat folder whose config.json has these keys."""
    shutil.copytree(plain, folder, dirs_exist_ok=True)
    edit(folder / "config.json", **values)
    return folder


def modular(plain: Path, folder: Path, function: nn.Module | None = None, **settings: Any) -> Path:
    """A folder that the library writes since version 5.4."""
    model = CrossEncoder(str(plain), device="cpu", activation_fn=function, **settings)
    model.save(str(folder), create_model_card=False)
    return folder


def theirs(folder: Path, queries: list[str] = QUERIES, passages: list[str] = PASSAGES) -> Any:
    """The library's scores (n, labels); each pair alone, because padding changes the last bits."""
    model = CrossEncoder(str(folder), device="cpu")
    scores = model.predict(list(zip(queries, passages, strict=True)), batch_size=1)
    return scores.reshape(len(queries), -1)


def ours(folder: Path, task: str | None = None, **options: Any) -> Any:
    """A job's scores (n, labels)."""
    if task != "reranking":
        options = {"top_k": None, "task": "text-classification", **options}
    spec = model_spec(str(folder), pairs=True, **{"dtype": "float32", "device": "cpu", **options})
    rows = encoded(spec, text=QUERIES, text_pair=PASSAGES)
    if rows.column_names == ["score"]:
        return rows["score"].to_numpy()[:, None]
    names = read_checkpoint(folder).labels
    return np.array(
        [
            [{x["label"]: x["score"] for x in row}[name] for name in names]
            for row in rows["labels"].to_pylist()
        ]
    )


FUNCTIONS = [
    (1, nn.Identity()),
    (1, nn.Sigmoid()),
    (1, nn.Tanh()),
    (1, nn.LogSigmoid()),
    (1, nn.ReLU()),
    (3, nn.Identity()),
    (3, nn.Sigmoid()),
    (3, nn.Softmax(dim=1)),
    (3, nn.LogSoftmax(dim=1)),
]


FORMS = [
    *((form, *FUNCTIONS[i]) for form in (OLDEST, OLDER) for i in (0, 1, 7)),
    *(("modular", *each) for each in FUNCTIONS),
]


@pytest.mark.parametrize(("form", "count", "function"), FORMS, ids=str)
def test_the_stated_activation_makes_the_scores(
    tmp_path: Path, plain: Callable[[int], Path], form: str, count: int, function: nn.Module
) -> None:
    """Whichever version of the library wrote the folder, and whichever task reads it."""
    path = f"{type(function).__module__}.{type(function).__name__}"
    if form == "modular":
        folder = modular(plain(count), tmp_path, function)
    else:
        value = path if form == OLDEST else {"activation_fn": path}
        folder = stating(plain(count), tmp_path, **{form: value})
    expected = theirs(folder)
    np.testing.assert_allclose(ours(folder), expected, **EXACT)
    if count == 1:
        np.testing.assert_allclose(ours(folder, "reranking"), expected, **EXACT)


IDENTITY, SIGMOID = f"{TORCH}.linear.Identity", f"{TORCH}.activation.Sigmoid"
PRECEDENCE: dict[str, tuple[bool, dict[str, Any]]] = {
    "the newer key": (False, {OLDEST: SIGMOID, OLDER: {"activation_fn": IDENTITY}}),
    "an object without it": (False, {OLDEST: IDENTITY, OLDER: {"version": "4.0.0"}}),
    "a null": (False, {OLDEST: None, OLDER: {"activation_fn": SIGMOID}}),
    "the library's own file": (True, {OLDEST: SIGMOID, OLDER: {"activation_fn": SIGMOID}}),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_one_of_several_statements_counts(tmp_path: Path, plain: Callable[[int], Path], case: str) -> None:
    """The same one as in the library."""
    own_file, values = PRECEDENCE[case]
    folder = (modular if own_file else stating)(plain(1), tmp_path)
    if own_file:
        edit(folder / "config_sentence_transformers.json", activation_fn=IDENTITY)
    edit(folder / "config.json", **values)
    np.testing.assert_allclose(ours(folder), theirs(folder), **EXACT)


def test_high_logits_keep_their_order(tmp_path: Path, plain: Callable[[int], Path]) -> None:
    """A sigmoid in float32 made 1.0 of all of them."""
    folder = stating(plain(1), tmp_path, **{OLDEST: IDENTITY})
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] += 20.0
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    scores = ours(folder)[:, 0]
    assert scores.min() > 17
    assert len(set(scores.tolist())) == len(QUERIES)
    assert ours(folder, function_to_apply="sigmoid").max() == 1.0
    np.testing.assert_array_equal(scores, ours(folder, "reranking")[:, 0])


@pytest.mark.parametrize("count", LABELS)
@pytest.mark.parametrize("given", ["none", "sigmoid", "softmax"])
def test_the_job_chooses_the_function(
    tmp_path: Path, plain: Callable[[int], Path], count: int, given: str
) -> None:
    """Instead of the stated one, even one that could not be run."""
    folder = stating(plain(count), tmp_path, **{OLDEST: "my.Function"})
    function = {"none": nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=1)}[given]
    expected = theirs(modular(plain(count), tmp_path / "reference", function))
    if (count, given) == (1, "softmax"):
        with pytest.raises(ConfigError, match="function_to_apply: expected none or sigmoid for a checkpoint"):
            ours(folder, function_to_apply=given)
        return
    np.testing.assert_allclose(ours(folder, function_to_apply=given), expected, **EXACT)


@pytest.mark.parametrize("path", ["my.Function", "torch.nn.modules.activation.Hardswish", "torch.sigmoid"])
@pytest.mark.parametrize("task", ["text-classification", "reranking"])
def test_another_activation_is_refused_by_name(
    tmp_path: Path, plain: Callable[[int], Path], path: str, task: str
) -> None:
    """With the way out; other tasks do not mind, and inspect notes it."""
    folder = stating(plain(1), tmp_path, **{OLDEST: path})
    with pytest.raises(ConfigError) as refused:
        model_spec(str(folder), pairs=True, task=task)
    assert f"config.json: {OLDEST}: expected one of torch.nn.Identity" in str(refused.value)
    assert f"got '{path}'" in str(refused.value)
    assert "set function_to_apply" in str(refused.value)
    assert model_spec(str(folder), task="embedding").task == "embedding"
    assert any(path in note for note in inspect_checkpoint(str(folder)).notes)


def test_a_checkpoint_that_states_nothing(tmp_path: Path, plain: Callable[[int], Path]) -> None:
    """Text classification is transformers'; reranking is raw, and notes that the library is not."""
    raw = ours(plain(1), "reranking")
    sigmoid = torch.tensor(raw).sigmoid().numpy()
    np.testing.assert_allclose(ours(plain(1)), sigmoid, **EXACT)
    np.testing.assert_allclose(theirs(plain(1)), sigmoid, **EXACT)
    config = ModelConfig(checkpoint=str(plain(1)))
    assert any("states no activation" in note for note in resolve_model(config, "m", pairs=True).notes)
    config = ModelConfig(checkpoint=str(plain(1)), function_to_apply="none")
    assert not any("activation" in note for note in resolve_model(config, "m", pairs=True).notes)


@pytest.mark.parametrize(
    ("labels", "problem_type", "task"),
    [
        (("LABEL_0",), None, "reranking"),
        (("LABEL_0",), "regression", "text-classification"),
        (("LABEL_0",), "multi_label_classification", "text-classification"),
        (("toxic",), None, "text-classification"),
        (("LABEL_0", "LABEL_1"), None, "text-classification"),
    ],
)
def test_one_output_without_a_name_reranks(
    tmp_path: Path, labels: tuple[str, ...], problem_type: str | None, task: str
) -> None:
    """Where no task is named; a folder of either form."""
    flat = write_checkpoint(
        tmp_path / "flat", "bert", "text-classification", labels=labels, problem_type=problem_type
    )
    for folder in (flat, modular(flat, tmp_path / "modular")):
        assert model_spec(str(folder), pairs=True).task == task
        assert inspect_checkpoint(str(folder)).task == task


def test_several_labels_do_not_rerank(plain: Callable[[int], Path]) -> None:
    """They have no single relevance."""
    message = r"task: reranking needs a checkpoint with one output, got 3 labels \(entailment, neutral"
    with pytest.raises(ConfigError, match=message):
        model_spec(str(plain(3)), task="reranking", pairs=True)


@pytest.mark.parametrize("settings", [{}, {"max_length": 24}], ids=["own", "24"])
def test_a_default_prompt_precedes_the_first_text(
    tmp_path: Path, plain: Callable[[int], Path], settings: dict[str, Any]
) -> None:
    """Only of a pair's first text, as in the library; the limit is the folder's; the job's prompt counts."""
    prompts = {"search": "find the good ", "none": ""}
    folder = modular(plain(1), tmp_path, prompts=prompts, default_prompt_name="search", **settings)
    with_prompt = theirs(folder)
    assert with_prompt[0] != theirs(plain(1))[0]
    np.testing.assert_allclose(ours(folder), with_prompt, **EXACT)
    edit(folder / "config_sentence_transformers.json", default_prompt_name="none")
    np.testing.assert_allclose(ours(folder, prompt="find the good "), with_prompt, **EXACT)
    np.testing.assert_allclose(ours(folder), theirs(folder), **EXACT)


@pytest.mark.parametrize("how", ["max", "mean", "first"])
def test_the_best_window_of_a_passage_counts(plain: Callable[[int], Path], how: str) -> None:
    """MaxP, unless the job combines the windows otherwise; what fits has one window."""
    options = {} if how == "max" else {"combine": how}
    windowed = ours(plain(1), "reranking", long_text="window", max_length=40, stride=4, **options)[:, 0]
    cut = ours(plain(1), "reranking", max_length=40)[:, 0]
    short = [len((query + passage).split()) < 20 for query, passage in zip(QUERIES, PASSAGES, strict=True)]
    np.testing.assert_allclose(windowed[short], cut[short], **EXACT)
    room, words = 40 - 3 - 1, LONG.split()
    starts = range(0, len(words) - 4, room - 4)
    pieces = [" ".join(words[start : start + room]) for start in starts]
    scores = theirs(plain(1), ["good"] * len(pieces), pieces)[:, 0]
    scores = np.log(scores / (1 - scores))  # the library's sigmoid, undone
    lengths = [len(piece.split()) for piece in pieces]
    expected = {"max": scores.max(), "mean": np.average(scores, weights=lengths), "first": scores[0]}
    np.testing.assert_allclose(windowed[2], expected[how], rtol=1e-3, atol=1e-3)


def test_an_encoder_is_still_one(tmp_path: Path, plain: Callable[[int], Path]) -> None:
    """The modules of a cross-encoder make no vectors: `embedding` is that of the plain folder."""
    prompts = {"search": "find the good "}
    folder = modular(plain(1), tmp_path, prompts=prompts, default_prompt_name="search")
    found, expected = (
        encoded(model_spec(str(one), task="embedding", dtype="float32", device="cpu"), text=PASSAGES)
        for one in (folder, plain(1))
    )
    assert found == expected


# Modules after the Transformer.

SCORES: dict[str, Any] = {"module_input_name": "scores", "module_output_name": "scores"}
TOKENS: dict[str, Any] = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}


def dense(*sizes: int, output: str = "scores", **options: Any) -> Any:
    """A projection whose weights are large enough to show."""
    module = modules.Dense(*sizes, **{"module_output_name": output, **options})
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(0.1, 0.5, generator=generator)
    return module


CHAINS: dict[str, tuple[int, Callable[[], list[nn.Module]]]] = {
    "a projection of scores": (1, lambda: [dense(3, 1, activation_function=nn.Identity(), **SCORES)]),
    "two of them": (2, lambda: [dense(3, 5, **SCORES), dense(5, 2, use_residual=True, **SCORES)]),
    "of a pooled vector": (1, lambda: [modules.Pooling(32, "cls"), dense(32, 1)]),
    "of all steps": (
        3,
        lambda: [
            dense(32, 32, **TOKENS),
            modules.Pooling(32, "mean"),
            modules.LayerNorm(32),
            dense(32, 8, output="sentence_embedding", activation_function=nn.GELU()),
            modules.Dropout(),
            modules.Normalize(),
            dense(8, 4),
            dense(4, 3, bias=False, **SCORES),
        ],
    ),
}


def chained(plain: Callable[[int], Path], base: Path, folder: Path, case: str) -> Path:
    """A folder with a chain of modules, on the head of a classifier or on an encoder."""
    chain = CHAINS[case][1]()
    own_head = not any(isinstance(module, modules.Pooling) for module in chain)
    task = "sequence-classification" if own_head else "feature-extraction"
    first = modules.Transformer(str(plain(3) if own_head else base), transformer_task=task)
    CrossEncoder(modules=[first, *chain], device="cpu").save(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("case", CHAINS)
def test_modules_after_the_transformer_make_the_scores(
    tmp_path: Path, plain: Callable[[int], Path], case: str
) -> None:
    """Of the classifier's scores, or of a pooled vector; the last one has the labels."""
    base = write_checkpoint(tmp_path / "base", "bert", "base")
    folder = chained(plain, base, tmp_path / "chain", case)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.labels == tuple(f"LABEL_{i}" for i in range(CHAINS[case][0]))
    assert checkpoint.default_job_task == ("reranking" if CHAINS[case][0] == 1 else "text-classification")
    np.testing.assert_allclose(ours(folder), theirs(folder), **EXACT)
    np.testing.assert_allclose(ours(folder, dtype="bfloat16"), theirs(folder), rtol=0, atol=0.1)
    assert not inspect_checkpoint(str(folder)).problems


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (lambda: [dense(4, 1, **SCORES)], "1_Dense/config.json: in_features: expected 3, got 4"),
        (lambda: [modules.Normalize()], "expected a Dense that reads and writes scores, got Normalize"),
    ],
    ids=["width", "kind"],
)
def test_modules_that_do_not_fit_are_refused(
    tmp_path: Path, plain: Callable[[int], Path], chain: Callable[[], list[nn.Module]], message: str
) -> None:
    """Before anything runs."""
    first = modules.Transformer(str(plain(3)), transformer_task="sequence-classification")
    made = CrossEncoder(modules=[first, *chain()], device="cpu")
    made.save(str(tmp_path), create_model_card=False)
    with pytest.raises(ConfigError, match=message):
        model_spec(str(tmp_path), pairs=True)
