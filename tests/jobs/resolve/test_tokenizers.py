"""The tokenizer of a job's checkpoint: its settings reach the model, and differences are noted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tiny_checkpoints import VOCABULARY, write_checkpoint

from corpusmill.jobs.config.schema import ModelConfig
from corpusmill.jobs.errors import ConfigError
from corpusmill.jobs.inspect import inspect_checkpoint, inspection_lines
from corpusmill.jobs.resolve.model import ResolvedModel, resolve_model
from corpusmill.pipeline.tokenize.tokenizer import tokenizer_digest

Change = Callable[[Path], Any]


def stated(name: str = "tokenizer_config.json", **values: Any) -> Change:
    """Change a JSON file's values."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))

    return change


def vocabulary(text: str) -> Change:
    """Leave only vocab.txt, with this text."""

    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_text(text)

    return change


def other_model(folder: Path) -> None:
    """Give tokenizer.json another algorithm."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"] = {"type": "WordLevel", "vocab": content["model"]["vocab"], "unk_token": "[UNK]"}
    (folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A tiny checkpoint with a changed tokenizer."""

    def make(*changes: Change, task: str = "text-classification", **options: Any) -> Path:
        name = str(len(list(tmp_path.iterdir())))
        folder = write_checkpoint(tmp_path / name, "bert", task, width=16, layers=1, **options)
        for change in changes:
            change(folder)
        return folder

    return make


def resolved(folder: Path, *, pairs: bool = False, **options: Any) -> ResolvedModel:
    return resolve_model(ModelConfig(checkpoint=str(folder), **options), "model", pairs=pairs)


WORDS = "\n".join(VOCABULARY)


@pytest.mark.parametrize(
    "text", [WORDS + "\n\n", "\n".join(VOCABULARY[:-2]) + "\nthe\nof\n"], ids=["blank", "twice"]
)
def test_lines_that_are_no_words_are_not_counted(checkpoint: Callable[..., Path], text: str) -> None:
    """A blank last line has an id beyond the model's, but no text has its token."""
    assert resolved(checkpoint(vocabulary(text))).notes == ()


def test_a_word_twice_at_the_end_is_one_too_many(checkpoint: Callable[..., Path]) -> None:
    """Its last id counts, and the model has no vector for it."""
    folder = checkpoint(vocabulary(WORDS + "\nthe\n"))
    with pytest.raises(ConfigError, match=f"has {len(VOCABULARY) + 1} tokens, the model {len(VOCABULARY)}"):
        resolved(folder)


def test_texts_that_are_cut_on_the_left_are_tokenized_whole(checkpoint: Callable[..., Path]) -> None:
    """Their last tokens are wanted."""
    assert resolved(checkpoint(stated(truncation_side="left"))).spec.tokenizer.limit is None


@pytest.mark.parametrize(
    ("values", "length"),
    [({}, 64), ({"tokenizer_args": {"model_max_length": 20}}, 20), ({"max_seq_length": None}, 128)],
)
def test_sentence_transformers_limit_is_the_models(
    checkpoint: Callable[..., Path], values: dict[str, Any], length: int
) -> None:
    """That of the tokenizer's arguments before the module's, and the tokenizer's own last."""
    change = stated("sentence_bert_config.json", **values)
    folder = checkpoint(change, task="embedding", sentence_transformers=True)
    found = resolved(folder)
    assert found.spec.tokenizer.sentence
    assert (found.spec.max_length, inspect_checkpoint(str(folder)).max_length) == (length, length)


NOTES: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no effect": (stated(do_basic_tokenize=False), {}, "do_basic_tokenize: false has no effect"),
    "no types": (
        stated(tokenizer_class="PreTrainedTokenizerFast"),
        {"task": "text-classification"},
        "PreTrainedTokenizer gives no token types, so both texts of a pair have type 0",
    ),
    "another model": (
        other_model,
        {},
        "tokenizer.json has a WordLevel model, not a BERT tokenizer's WordPiece; it is used as it is",
    ),
    "another mask": (
        vocabulary(WORDS.replace("[MASK]", "<mask>")),
        {"task": "fill-mask"},
        "the mask is spelled <mask>, not [MASK]",
    ),
    "unknown keys": (
        stated("config.json", gap_size=0, hidden_dropout_prob=0.3, net_structure_type=0, gone=None),
        {},
        "config.json: unknown to this version, so without effect: gap_size, net_structure_type",
    ),
    "unknown key of a tokenizer": (
        stated(do_lower_kase=True),
        {},
        "tokenizer_config.json: unknown to this version, so without effect: do_lower_kase",
    ),
    "code of its own": (
        stated("config.json", auto_map={"AutoModel": "modeling.OwnModel"}),
        {},
        "config.json: auto_map: code of the checkpoint is never run",
    ),
}


@pytest.mark.parametrize(("change", "options", "note"), NOTES.values(), ids=NOTES)
def test_differences_are_noted_in_the_job_and_by_inspect(
    checkpoint: Callable[..., Path], change: Change, options: dict[str, Any], note: str
) -> None:
    """Once each; a checkpoint without them has no note."""
    task = options.get("task", "text-classification")
    plain = checkpoint(task=task)
    assert resolved(plain, pairs=True, **options).notes == inspect_checkpoint(str(plain)).notes == ()
    mask = stated(mask_token="<mask>" if "mask" in note else "[MASK]")
    folder = checkpoint(change, mask, task=task)
    (found,) = resolved(folder, pairs=True, **options).notes
    assert note in found
    assert f"  note: {found}" in inspection_lines(inspect_checkpoint(str(folder), options.get("task")))


def test_a_mask_that_is_cut_like_any_word_is_refused(checkpoint: Callable[..., Path]) -> None:
    """No text would have a mask, and no row a prediction."""
    change = stated(split_special_tokens=True)
    with pytest.raises(ConfigError, match=r"with \[MASK\] as one token, but it cuts \[MASK\] like any word"):
        resolved(checkpoint(change, task="fill-mask"), task="fill-mask")


def test_the_digest_has_the_settings_of_other_files(checkpoint: Callable[..., Path]) -> None:
    """And nothing else of them, so that models share a tokenization."""
    folder = checkpoint(task="embedding", sentence_transformers=True)
    digests = [tokenizer_digest(str(folder), sentence=True)]
    for change in (
        stated("config.json", hidden_dropout_prob=0.3, tokenizer_class="DistilBertTokenizer"),
        stated("sentence_bert_config.json", max_seq_length=20),
    ):
        change(folder)
        assert tokenizer_digest(str(folder), sentence=True) == digests[0]
    for change in (
        stated("sentence_bert_config.json", do_lower_case=True),
        stated("sentence_bert_config.json", tokenizer_args={"do_lower_case": False}),
        stated(tokenizer_class=None),
    ):
        change(folder)
        digests.append(tokenizer_digest(str(folder), sentence=True))
    assert len(set(digests)) == len(digests)
