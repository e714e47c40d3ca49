"""Whatever stands in a job file, it is a job or a ConfigError that says something."""

import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpusmill.jobs import ConfigError, JobConfig
from corpusmill.jobs.config.explain import known_keys
from corpusmill.jobs.config.schema import (
    AutoscalingConfig,
    InputConfig,
    ModelConfig,
    OutputConfig,
    PoolConfig,
)

SECTIONS = (JobConfig, InputConfig, ModelConfig, PoolConfig, OutputConfig, AutoscalingConfig)
KEYS = [
    *dict.fromkeys(key for section in SECTIONS for key in known_keys(section)),
    "int",
    "list[str]",
    "literal[x]",
]
words = st.sampled_from(
    ["auto", "x", "*", "arrow", "float32", "list<int64>", "struct<a: int64>", "<", ">", ":"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | words | st.text(max_size=5)
keys: st.SearchStrategy[Any] = (
    st.sampled_from(KEYS) | st.text(string.printable, max_size=4) | st.integers(0, 3) | st.none()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
FEW, MANY = 150, 10_000


def job_or_problems(load: Any) -> None:
    """Loads; a refusal must name at least one problem, each of them in words."""
    try:
        found = load()
    except ConfigError as error:
        found = error
    if isinstance(found, ConfigError):
        assert found.problems
        assert all(problem.message for problem in found.problems)
    else:
        assert isinstance(found, JobConfig)


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A good job with up to three of its parts replaced, removed or added."""
    job: dict[str, Any] = {
        "name": "x",
        "input": {"path": "in", "text": "t", "keep": ["id"], "schema": {"a": "int64"}},
        "models": [{"checkpoint": "c", "pool": {"cpus": 1}}],
        "output": {"path": "out"},
        "autoscaling": {"target_drain_seconds": 1},
    }
    sections = [
        job,
        job["input"],
        job["models"][0],
        job["models"][0]["pool"],
        job["output"],
        job["autoscaling"],
    ]
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from(sections))[draw(keys)] = draw(values)
    return job


@pytest.fixture(params=[FEW, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def cases(request: pytest.FixtureRequest) -> settings:
    """So many cases, the same in every run."""
    return settings(
        max_examples=request.param,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )


def test_any_structure_is_a_job_or_a_list_of_problems(cases: settings) -> None:
    """No other exception leaves the checks."""

    @cases
    @given(fields=st.dictionaries(keys, values, max_size=5) | spoiled())
    def check(fields: dict[str, Any]) -> None:
        job_or_problems(lambda: JobConfig.from_dict(fields))

    check()


def test_any_text_is_a_job_file_or_a_list_of_problems(cases: settings, tmp_path: Path) -> None:
    """Broken YAML, tags, anchors and odd settings included."""
    path = tmp_path / "fuzzed.yaml"

    @cases
    @given(
        text=st.text(string.printable, max_size=80) | values.map(yaml.dump),
        setting=st.text("ab.[]0=:{ -&*!", max_size=12),
    )
    def check(text: str, setting: str) -> None:
        path.write_text(text, encoding="utf-8")
        job_or_problems(lambda: JobConfig.from_yaml(path, [setting]))

    check()


def test_any_bytes_are_a_job_file_or_a_list_of_problems(cases: settings, tmp_path: Path) -> None:
    """A good file with bytes of it changed, or any bytes at all."""
    path = tmp_path / "fuzzed.yaml"

    @cases
    @given(
        content=st.binary(max_size=60)
        | st.builds(
            lambda fields, place, damage: _damaged(yaml.dump(fields).encode(), place, damage),
            spoiled(),
            st.floats(0, 1),
            st.binary(min_size=1, max_size=3),
        )
    )
    def check(content: bytes) -> None:
        path.write_bytes(content)
        job_or_problems(lambda: JobConfig.from_yaml(path))

    check()


def _damaged(content: bytes, place: float, damage: bytes) -> bytes:
    position = int(place * len(content))
    return content[:position] + damage + content[position + len(damage) :]


def test_any_setting_gives_a_job_or_a_list_of_problems(cases: settings, tmp_path: Path) -> None:
    """Settings walk into whatever the file holds."""
    path = tmp_path / "fuzzed.yaml"

    @cases
    @given(fields=spoiled(), setting=st.sampled_from(KEYS).map(lambda key: f"models.0.{key}.{key}=1"))
    def check(fields: dict[str, Any], setting: str) -> None:
        path.write_text(yaml.dump(fields), encoding="utf-8")
        job_or_problems(lambda: JobConfig.from_yaml(path, [setting]))

    check()
