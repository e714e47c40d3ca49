"""The job file: what it holds, its defaults, and how what is wrong with it is said."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from corpusmill.jobs import ConfigError, JobConfig
from corpusmill.jobs.config import familiar_names
from corpusmill.jobs.config.explain import known_keys, sections
from corpusmill.jobs.config.familiar_names import FAMILIAR_KEYS, FAMILIAR_TASKS
from corpusmill.pipeline.tasks import TASKS

FULL = """
name: reviews
input:
  path: s3://bucket/reviews/*.parquet
  format: auto
  text: body
  text_pair: null
  keep: [id]
  rows_per_unit: auto
  on_bad_row: reject
  schema: null
models:
  - checkpoint: hf://distilbert/distilbert-base-uncased-finetuned-sst-2-english
    task: text-classification
    name: null
    dtype: auto
    device: auto
    max_length: auto
    long_text: truncate
    stride: 128
    tokens_per_batch: auto
    pool: {min_workers: 1, max_workers: auto, cpus: auto, gpus: auto}
output:
  path: ./out/reviews
  format: arrow
  compression: zstd
autoscaling: {target_drain_seconds: auto}
"""
LEAST = {
    "name": "reviews",
    "input": {"path": "s3://bucket/reviews/*.parquet", "text": "body", "keep": ["id"]},
    "models": [
        {
            "checkpoint": "hf://distilbert/distilbert-base-uncased-finetuned-sst-2-english",
            "task": "text-classification",
        }
    ],
    "output": {"path": "./out/reviews"},
}


def changed(**values: Any) -> dict[str, Any]:
    """The least job with fields changed: `input__text="x"`."""
    fields: dict[str, Any] = yaml.safe_load(yaml.safe_dump(LEAST))
    for path, value in values.items():
        *parents, last = path.split("__")
        node: Any = fields
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        node[last] = value
    return fields


def problems_of(fields: dict[str, Any]) -> dict[str, str]:
    """What is said of a job, by field."""
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_dict(fields)
    return {problem.field: problem.message for problem in caught.value.problems}


def test_every_field_of_the_contract_loads_and_its_values_are_the_defaults(tmp_path: Path) -> None:
    """The contract's job file is the job that names only what has no default."""
    job = tmp_path / "job.yaml"
    job.write_text(FULL)
    assert JobConfig.from_yaml(job).model_dump() == JobConfig.from_dict(changed()).model_dump()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("input__path", ["a.parquet", "b/*.jsonl"]),
        ("input__format", "jsonl"),
        ("input__text_pair", "title"),
        ("input__keep", ["*"]),
        ("input__rows_per_unit", 100),
        ("input__on_bad_row", "fail"),
        (
            "input__schema",
            {"when": "timestamp[us]", "tags": "list<string>", "by": "struct<name: string, n: int64>"},
        ),
        ("models__0__name", "mood"),
        ("models__0__dtype", "bfloat16"),
        ("models__0__device", "cuda"),
        ("models__0__max_length", 256),
        ("models__0__stride", 0),
        ("models__0__tokens_per_batch", 4096),
        ("models__0__pool", {"min_workers": 0, "max_workers": 4, "cpus": 2, "gpus": 0.5}),
        ("models__0__top_k", 3),
        ("models__0__top_k", None),
        ("models__0__threshold", 0.5),
        ("output__format", "parquet"),
        ("output__compression", None),
        ("autoscaling__target_drain_seconds", 2.5),
        ("autoscaling__target_drain_seconds", "auto"),
    ],
)
def test_a_job_written_as_yaml_loads_to_the_same_job(tmp_path: Path, path: str, value: Any) -> None:
    """Values, and which task options were given, survive the way through a file."""
    config = JobConfig.from_dict(changed(**{path: value}))
    (tmp_path / "job.yaml").write_text(config.to_yaml(), encoding="utf-8")
    again = JobConfig.from_yaml(tmp_path / "job.yaml")
    assert again.model_dump() == config.model_dump()
    options = {"top_k", "threshold"}
    assert [m.model_fields_set & options for m in again.models] == [
        m.model_fields_set & options for m in config.models
    ]


def test_text_that_is_not_ascii_survives_the_way_through_a_file(tmp_path: Path) -> None:
    """Names may be in any language."""
    config = JobConfig.from_dict(changed(name="Bücher: № 5 💡", input__text="テキスト"))
    (tmp_path / "job.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert JobConfig.from_yaml(tmp_path / "job.yaml") == config


@pytest.mark.parametrize(
    ("path", "key", "near"),
    [
        ("", "outputs", "output"),
        ("input__", "txt", "text"),
        ("input__", "row_per_unit", "rows_per_unit"),
        ("models__0__", "checkpont", "checkpoint"),
        ("models__0__", "maxlength", "max_length"),
        ("models__0__pool__", "max_worker", "max_workers"),
        ("output__", "compresion", "compression"),
        ("autoscaling__", "target_drain_second", "target_drain_seconds"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(path: str, key: str, near: str) -> None:
    """At every level, with the path of the key."""
    found = problems_of(changed(**{path + key: 1}))
    field = (path + key).replace("__0__", "[0].").replace("__", ".")
    assert found == {field: f"unknown key; did you mean {near!r}?"}


@pytest.mark.parametrize(
    ("path", "home"),
    [
        ("text", "input"),
        ("models__0__text", "input"),
        ("models__0__pool__dtype", "models"),
        ("input__compression", "output"),
        ("input__checkpoint", "models"),
        ("output__min_workers", "models.pool"),
        ("models__0__format", "input or output"),
        ("autoscaling__models", "the top level"),
    ],
)
def test_a_key_in_the_wrong_section_is_told_where_it_belongs(path: str, home: str) -> None:
    """Rather than which key of the wrong section it looks like."""
    (message,) = problems_of(changed(**{path: 1})).values()
    assert message.endswith(f"belongs under {home}")


def test_a_key_like_nothing_lists_what_there_is() -> None:
    """The nearest one all the same, and all known ones."""
    (message,) = problems_of(changed(output__zzz=1)).values()
    assert "nearest known one is" in message
    assert "(known: path, format, compression)" in message


@pytest.mark.parametrize("key", ["int", "float", "str", "list[str]", "literal[x]"])
def test_a_key_that_pydantic_has_a_meaning_for_is_an_unknown_key(key: str) -> None:
    """The names that pydantic gives to the arms of a union are no special keys."""
    assert problems_of(changed(**{key: 1}))[key].startswith("unknown key")


def test_only_the_contracts_spelling_of_a_key_is_known() -> None:
    """`schema` has another name in the code, which is no key of the job file."""
    assert "unknown key" in problems_of(changed(input__column_types={}))["input.column_types"]


def test_several_pools_of_a_model_are_an_unknown_key_that_says_what_to_use() -> None:
    """They were a feature once: the nearest key's name alone would not tell what became of it."""
    found = problems_of(changed(models__0__pools=[{"device": "cpu"}, {"device": "cuda"}]))
    assert found == {
        "models[0].pools": "unknown key; use models[].pool or models[].device: "
        "a model has one pool, on one kind of device"
    }


def test_all_problems_are_said_at_once_with_their_paths() -> None:
    """Missing, unknown and wrong, over all sections."""
    found = problems_of(
        changed(
            models=[{"checkpoint": "a", "dtype": "float8"}, {"task": "embedding", "pool": {"cpus": 0}}],
            input__keep="id",
            input__bodi="x",
            output={"format": "csv"},
        )
    )
    wrong = {"models[0].dtype", "models[1].checkpoint", "models[1].pool.cpus", "input.bodi"}
    assert set(found) == wrong | {"output.path", "output.format"}
    assert found["models[1].checkpoint"] == "is required"
    assert found["models[0].dtype"] == (
        "expected 'auto', 'float32', 'bfloat16', 'float16' or 'int8', got 'float8'"
    )


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", 7, "string, got 7"),
        ("name", "", "at least 1 character, got ''"),
        ("input__text", True, "string, got True"),
        ("input__rows_per_unit", "100", "'auto' or a valid integer, got '100'"),
        ("input__rows_per_unit", 2.0, "got 2.0"),
        ("input__rows_per_unit", 0, "got 0"),
        ("input__path", [], "at least 1 item, got []"),
        ("input__path", None, "list, got None"),
        ("input__schema", {"a": "integer"}, "expected an Arrow type such as string"),
        ("input__schema", {"a": "list<time32[s]>"}, "time32[s] cannot be read from JSON lines; expected"),
        ("input__schema", {"a": "duration[us]"}, "duration[us] cannot be read from JSON lines; expected"),
        ("models", [], "at least 1 item, got []"),
        ("models__0__max_length", "512", "got '512'"),
        ("models__0__stride", 1.5, "integer, got 1.5"),
        ("models__0__name", "my model", "got 'my model'"),
        ("models__0__threshold", 2, "less than or equal to 1, got 2"),
        ("models__0__top_k", 0, "greater than or equal to 1, got 0"),
        ("models__0__long_text", "middle", "'truncate' or 'window', got 'middle'"),
        (
            "models__0__pool",
            {"min_workers": 3, "max_workers": 2},
            "min_workers at most max_workers, got 3 and 2",
        ),
        ("output__compression", 3, "string, got 3"),
        ("autoscaling__target_drain_seconds", 0, "greater than 0, got 0"),
    ],
)
def test_values_are_not_coerced_and_bounds_hold(path: str, value: Any, words: str) -> None:
    """One problem, at the field's own path, with what was expected and what was there."""
    (problem,) = problems_of(changed(**{path: value})).items()
    assert problem[0].startswith(path.replace("__0__", "[0].").replace("__", "."))
    assert words in problem[1]
    assert "should" not in problem[1]


def test_a_yaml_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    """The line and column, as editors count."""
    job = tmp_path / "job.yaml"
    job.write_text("name: x\ninput:\n  path: [a\n")
    with pytest.raises(ConfigError, match=r"job\.yaml: line 4, column 1: expected YAML"):
        JobConfig.from_yaml(job)


@pytest.mark.parametrize(
    ("text", "got"), [("", "nothing"), ("- a\n", "list"), ("just text\n", "str"), ("3\n", "int")]
)
def test_a_file_that_is_no_mapping_is_told_what_it_is(tmp_path: Path, text: str, got: str) -> None:
    """And which keys a job has."""
    job = tmp_path / "job.yaml"
    job.write_text(text)
    with pytest.raises(
        ConfigError, match=f"expected a mapping with the keys name, input, models, output; got {got}"
    ):
        JobConfig.from_yaml(job)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are no text."""
    with pytest.raises(ConfigError, match="no such job file"):
        JobConfig.from_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        JobConfig.from_yaml(tmp_path)
    (tmp_path / "job.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        JobConfig.from_yaml(tmp_path / "job.yaml")


@pytest.mark.parametrize("labels", ["a, b, c", "a", " a b ,, c d,", ["a, b", "c"], ["a"]])
def test_labels_in_one_string_are_split_at_commas(tmp_path: Path, labels: str | list[str]) -> None:
    """As transformers' zero-shot pipeline splits them; from the file and from the command line."""
    from transformers.pipelines.zero_shot_classification import ZeroShotClassificationArgumentHandler

    expected = ZeroShotClassificationArgumentHandler()._parse_labels(labels)
    model = {"checkpoint": "x", "task": "zero-shot-classification"}
    in_file = JobConfig.from_dict(changed(models=[model | {"candidate_labels": labels}]))
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(changed(models=[model])), encoding="utf-8")
    set_ = JobConfig.from_yaml(path, [f"models.0.candidate_labels={yaml.safe_dump(labels, width=999)}"])
    assert in_file.models[0].candidate_labels == set_.models[0].candidate_labels == expected


@pytest.mark.parametrize("labels", ["", " , ", []])
def test_no_label_is_a_problem(labels: str | list[str]) -> None:
    """A string without a label is an empty list."""
    with pytest.raises(ConfigError, match="candidate_labels"):
        JobConfig.from_dict(changed(models=[{"checkpoint": "x", "candidate_labels": labels}]))


def test_settings_are_laid_over_the_file(tmp_path: Path) -> None:
    """By path, list positions both ways, values as in YAML, sections that the file leaves out."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(changed()))
    settings = ("models.0.dtype=bfloat16", "models[0].pool.max_workers=3", "input.keep=[a, b]", "name=a=b",
                "autoscaling.target_drain_seconds=5", "input.keep.1=c")  # fmt: skip
    config = JobConfig.from_yaml(tmp_path / "job.yaml", settings)
    assert (config.models[0].dtype, config.models[0].pool.max_workers) == ("bfloat16", 3)
    assert config.input.keep == ["a", "c"]
    assert (config.name, config.autoscaling.target_drain_seconds) == ("a=b", 5)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("name", "expected a.b=c, got no ="),
        ("models.7.dtype=auto", "list index out of range"),
        ("models.first.dtype=auto", "invalid literal for int"),
        ("name.a=1", "name holds 'reviews', which has no fields"),
        ("name.a.b=1", "name holds 'reviews', which has no fields"),
        ("name=[", "expected the node content"),
    ],
)
def test_a_setting_that_cannot_be_applied_is_told(tmp_path: Path, setting: str, reason: str) -> None:
    """With the setting and what is wrong with it."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(changed()))
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_yaml(tmp_path / "job.yaml", [setting, "name=fine"])
    (problem,) = caught.value.problems
    assert problem.field == f"--set {setting}"
    assert reason in problem.message


def test_a_setting_of_an_unknown_key_is_told_like_one_in_the_file(tmp_path: Path) -> None:
    """The nearest known key is named."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(changed()))
    with pytest.raises(ConfigError, match=r"models\[0\]\.dtpye: unknown key; did you mean 'dtype'\?"):
        JobConfig.from_yaml(tmp_path / "job.yaml", ["models.0.dtpye=auto"])


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    """The second of two equal keys does not silently win; the message names line and key."""
    path = tmp_path / "job.yaml"
    path.write_text("name: a\ninput: {path: x, text: t}\nname: b\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"line 3, column 1: .*'name' is given twice"):
        JobConfig.from_yaml(path)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("models__0__batch_size", "models[].tokens_per_batch"),
        ("models__0__model_name_or_path", "models[].checkpoint"),
        ("models__0__model", "models[].checkpoint"),
        ("models__0__torch_dtype", "models[].dtype"),
        ("models__0__device_map", "models[].device"),
        ("models__0__num_workers", "models[].pool.max_workers"),
        ("models__0__max_seq_length", "models[].max_length"),
        ("models__0__truncation", "models[].long_text"),
        ("models__0__pool__num_gpus", "models[].pool.gpus"),
        ("input__text_column", "input.text"),
        ("input__columns", "input.keep"),
        ("output_path", "output.path"),
        ("output__output_dir", "output.path"),
        ("batch-size", "models[].tokens_per_batch"),
    ],
)
def test_a_key_of_another_tool_is_told_what_it_is_here(path: str, field: str) -> None:
    """Where it stands makes no difference."""
    (message,) = problems_of(changed(**{path: 1})).values()
    assert message.startswith(f"unknown key; use {field}: ")


def test_hints_name_fields_and_tasks_that_exist() -> None:
    """A renamed field or task has to be renamed in the hints too."""
    known = {
        f"{path}.{key}".lstrip(".")
        for path, section in sections(JobConfig).items()
        for key in known_keys(section)
    }
    named = {field for target, _ in FAMILIAR_KEYS.values() for field in (target or "").split(" or ") if field}
    assert {field.replace("[]", "") for field in named} <= known
    assert not {key for key in FAMILIAR_KEYS if key in {path.rpartition(".")[2] for path in known}}
    assert all(any(task in TASKS for task in tasks) for tasks in FAMILIAR_TASKS.values())


@pytest.mark.parametrize(
    ("task", "hint"),
    [
        ("ner", "; ner is called token-classification here"),
        ("sentiment-analysis", "; sentiment-analysis is called text-classification here"),
        ("feature-extraction", "; feature-extraction is called embedding here"),
        ("Zero_Shot", "; zero-shot is called zero-shot-classification here"),
        ("embeding", "; did you mean embedding?"),
        ("token_classification", "; did you mean token-classification?"),
        ("summarization", "; summarization writes text and is not offered: a text encoder cannot do it"),
        ("poetry", ""),
    ],
)
def test_a_task_of_another_tool_is_told_what_it_is_here(task: str, hint: str) -> None:
    """Names of transformers' pipelines, misspellings, and what is not offered."""
    assert familiar_names.task_hint(task, list(TASKS)) == hint
