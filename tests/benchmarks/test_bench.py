"""`corpusmill bench`: one JSON object, one page, and figures of real runs."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpusmill.jobs.bench import BenchError, Settings, bench
from corpusmill.jobs.bench.results import best_seconds
from corpusmill.jobs.bench.shapes import SHAPES, checkpoint_of, write_config
from corpusmill.jobs.bench.texts import packed_batches
from corpusmill.jobs.cli.app import app
from corpusmill.models import load_model, read_checkpoint


def test_a_theme_measures_what_it_ran(settings: Settings, tmp_path: Path) -> None:
    """Positive rates under every heading, on a page that names hardware, date and command."""
    result = bench("architectures", settings, folder=tmp_path / "pages", command="corpusmill bench ...")
    assert result.tables
    for rows in result.tables.values():
        assert rows
        for row in rows:
            assert all(value > 0 for value in row.values() if isinstance(value, int | float))
    page = Path(result.page).read_text(encoding="utf-8")
    assert re.fullmatch(r"architectures_\d+-core-[a-z0-9-]+_\d{4}-\d\d-\d\d\.md", Path(result.page).name)
    assert result.hardware in page
    assert "`corpusmill bench ...`" in page
    json.dumps(asdict(result))


@pytest.mark.slow
def test_a_second_page_of_a_day_does_not_replace_the_first(settings: Settings, tmp_path: Path) -> None:
    """An earlier page stays as it is."""
    pages = {bench("architectures", settings, folder=tmp_path).page for _ in range(2)}
    assert len(pages) == 2


def test_the_command_prints_one_object(settings: Settings, tmp_path: Path) -> None:
    """And nothing else on standard output."""
    options = ("--docs", "8", "--corpus", settings.corpus, "--architecture", settings.architectures[0])
    chosen = ("--dtypes", "float32", "--threads", "1", "--rounds", "1", "--folder", str(tmp_path))
    tokenizer = ("--tokenizer", str(settings.tokenizer))
    done = CliRunner().invoke(app, ["bench", "architectures", *map(str, options), *tokenizer, *chosen])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["theme"] == "architectures"
    assert found["settings"]["documents"] == 8
    assert Path(found["page"]).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "expected one of architectures, job, got 'nothing'"),
        (["peers"], "expected one of architectures, job, got 'peers'"),
        (
            ["architectures", "--corpus", "/nowhere.parquet"],
            "expected a Parquet file at /nowhere.parquet, found none",
        ),
        (["job", "--architecture", "gpt"], "expected a folder or one of bert"),
        pytest.param(
            ["architectures", "--docs", "100000000"],
            "expected at least 100000000 documents",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    """With what was expected, as usage error."""
    done = CliRunner().invoke(app, ["bench", *arguments, "--folder", str(tmp_path)])
    assert done.exit_code == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_whole_job_is_measured(settings: Settings) -> None:
    """On Ray and in one process, to its end."""
    result = bench("job", settings)
    assert all(row["tokens/s"] > 0 for row in result.tables["Rates"])


def test_contenders_run_in_turn_after_a_warm_up() -> None:
    """A machine that slows down then slows all of them."""
    seen: list[str] = []
    runs = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    best, every = best_seconds(runs, rounds=2, threads=0)
    assert seen == ["a", "b"] * 3
    assert best.keys() == runs.keys()
    assert [len(times) for times in every.values()] == [2, 2]


def test_every_contender_sees_the_same_tokens() -> None:
    """Packed within the budget."""
    sequences = [[1 + (i + j) % 9 for j in range(1 + i % 7)] for i in range(50)]
    total = sum(map(len, sequences))
    packs = packed_batches(sequences, budget=20)
    assert sum(len(batch.input_ids) for batch in packs) == total
    assert all(len(batch.input_ids) <= 20 for batch in packs)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_what_the_family_calls_base(tmp_path: Path, shape: str) -> None:
    """Parameters of the base models, in millions, with word vectors and without poolers."""
    millions = {
        "bert": 108.9,
        "distilbert": 66.4,
        "mobilebert": 24.6,
        "squeezebert": 50.5,
        "convbert": 105.7,
        "minilm": 22.6,
    }
    write_config(shape, tmp_path)
    found = read_checkpoint(tmp_path, "base").parameters
    assert found / 1e6 == pytest.approx(millions[shape], abs=0.1)


def test_a_shape_loads_and_gives_numbers(tmp_path: Path) -> None:
    """Its random weights have the names and shapes of a checkpoint."""
    model = load_model(checkpoint_of("minilm", tmp_path), task="base")
    (states,) = (model(batch).last_hidden_state for batch in packed_batches([[2, 5, 3]], budget=8))
    assert states.isfinite().all()


def test_an_unknown_theme_is_an_error() -> None:
    """From Python as from the command line."""
    with pytest.raises(BenchError, match="expected one of architectures"):
        bench("nothing", Settings())
