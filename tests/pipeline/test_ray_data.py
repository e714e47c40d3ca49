"""The stages in a program of one's own: the same results as a job's, however its batches are cut."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.running import encoded
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs import ConfigError, model_spec
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.ray_data import Encode, Tokenize
from corpusmill.pipeline.spec import ModelSpec

TEXTS = ["the house by the river", None, "", "they run", "the house by the river", "Zoë saw a city. " * 30]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    """A model for each kind of tokenization: plain, with offsets, windows, pairs, lists."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {
        "embedding": {"sentence_transformers": True},
        "token-classification": {},
        "question-answering": {},
        "multiple-choice": {},
    }
    for task, options in made.items():
        write_checkpoint(folder / task, "bert", task, width=16, layers=1, **options)  # type: ignore[arg-type]
    windows = {"long_text": "window", "stride": 8}
    return {
        "embedding": model_spec(str(folder / "embedding"), name="e"),
        "token-classification": model_spec(str(folder / "token-classification"), **windows),
        "question-answering": model_spec(str(folder / "question-answering"), pairs=True, **windows),
        "multiple-choice": model_spec(str(folder / "multiple-choice"), pairs=True),
    }


def columns_of(task: str) -> dict[str, list[Any]]:
    """What a model of a task reads."""
    if task == "question-answering":
        return {"text": TEXTS, "text_pair": ["who?", "who?", "who?", None, "what is it?", "who saw it?"]}
    if task == "multiple-choice":
        return {"text": TEXTS, "text_pair": [["a", "b"], ["a"], [], None, ["the city", "a"], ["they"]]}
    return {"text": TEXTS}


@pytest.mark.parametrize(
    "task", ["embedding", "token-classification", "question-answering", "multiple-choice"]
)
def test_results_are_those_of_a_job(specs: dict[str, ModelSpec], task: str) -> None:
    """Also where batches are cut between the stages; the user's own columns stay."""
    model, columns = specs[task], columns_of(task)
    batch = pa.table({"id": list(range(len(TEXTS))), **columns})
    pair = "text_pair" if len(columns) > 1 else None
    tokens = Tokenize(model, text="text", text_pair=pair)(batch)
    encode = Encode(model)
    parts = [encode(tokens.slice(0, 2)), encode(tokens.slice(2, 3)), encode(tokens.slice(5))]
    found = pa.concat_tables(parts, promote_options="permissive").unify_dictionaries()
    wanted = encoded(model, **columns)
    assert found.column_names == ["id", *columns, *wanted.column_names]
    assert found.select(["id", *columns]).to_pylist() == batch.to_pylist()
    for name in wanted.column_names:
        assert_near(found[name].to_pylist(), wanted[name].to_pylist())


def assert_near(found: Any, wanted: Any) -> None:
    """Equal, numbers up to rounding."""
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_near(one, other)
    elif isinstance(wanted, dict):
        assert_near(list(found.items()), list(wanted.items()))
    elif isinstance(wanted, tuple):
        assert_near(list(found), list(wanted))
    else:
        assert found == (pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else wanted)


def test_models_that_share_a_tokenizer_share_its_tokens(specs: dict[str, ModelSpec]) -> None:
    """The first leaves them for the second."""
    model = specs["embedding"]
    tokens = Tokenize(model)(pa.table({"text": TEXTS}))
    both = Encode(model)(
        Encode(model, keep_tokens=True)(tokens).rename_columns(["text", *tokens.column_names[1:], "first"])
    )
    assert both.column_names == ["text", "first", "e_embedding"]
    assert both["first"].to_pylist() == both["e_embedding"].to_pylist()


def test_mistakes_are_reported(specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    """A missing column, a missing first stage, an unknown option."""
    model = specs["embedding"]
    with pytest.raises(InputError, match="expected a text column 'body', the batch has text"):
        Tokenize(model, text="body")(pa.table({"text": TEXTS}))
    with pytest.raises(InputError, match="no tokens for this model"):
        Encode(model)(pa.table({"text": TEXTS}))
    with pytest.raises(ConfigError, match="did you mean 'pooling'"):
        model_spec(str(tmp_path), poling="mean")
