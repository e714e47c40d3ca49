"""`corpusmill bench`: one JSON object, one page, figures of what was really run."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from importlib import util
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.tiny_checkpoints import write_checkpoint
from typer.testing import CliRunner

from corpusmill.jobs.bench import THEMES, BenchError, Settings, bench
from corpusmill.jobs.bench.accuracy import overlap
from corpusmill.jobs.bench.peers import padded
from corpusmill.jobs.bench.shapes import SHAPES, checkpoint_of, write_config
from corpusmill.jobs.bench.texts import packed
from corpusmill.jobs.bench.timing import best_seconds
from corpusmill.jobs.cli import app
from corpusmill.jobs.demo.job import MINILM_PACKAGE
from corpusmill.models import load_model, read_checkpoint

ENGINES = ("onnx", "onnxruntime", "openvino")
MISSING = [name for name in ENGINES if util.find_spec(name) is None]
NEEDS_RAY = ("job", "size")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint with long enough positions."""
    return str(write_checkpoint(tmp_path_factory.mktemp("tiny"), "bert", "embedding", max_positions=512))


@pytest.fixture
def settings(tiny: str, tmp_path: Path) -> Settings:
    """Twenty-four short documents, tokenized as the checkpoint wants them."""
    corpus = tmp_path / "corpus.parquet"
    texts = [
        f"the water runs down to house {i} and they watch it {'all night ' * (i % 5)}" for i in range(24)
    ]
    pq.write_table(pa.table({"text": texts}), corpus)
    return Settings(
        documents=24,
        corpus=str(corpus),
        tokenizer=f"{tiny}/tokenizer.json",
        architectures=(tiny,),
        dtypes=("float32",),
        threads=1,
        rounds=1,
    )


@pytest.mark.parametrize("theme", sorted(THEMES.keys() - {*NEEDS_RAY, "peers", "accuracy"}))
def test_a_theme_measures_what_it_ran(settings: Settings, tmp_path: Path, theme: str) -> None:
    """Positive rates under every heading, on a page that names hardware, date and command."""
    result = bench(theme, settings, folder=tmp_path / "pages", command="corpusmill bench ...")
    assert result.tables
    for rows in result.tables.values():
        assert rows
        for row in rows:
            assert all(value > 0 for value in row.values() if isinstance(value, int | float))
    page = Path(result.page).read_text(encoding="utf-8")
    assert re.fullmatch(rf"{theme}_\d+-core-[a-z0-9-]+_\d{{4}}-\d\d-\d\d\.md", Path(result.page).name)
    assert result.hardware in page
    assert "`corpusmill bench ...`" in page
    json.dumps(asdict(result))


def test_a_second_page_of_a_day_does_not_replace_the_first(settings: Settings, tmp_path: Path) -> None:
    """What was measured stays."""
    pages = {bench("tokenizer", settings, folder=tmp_path).page for _ in range(2)}
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
        (["nothing"], "expected one of architectures, peers"),
        (["tokenizer", "--corpus", "/nowhere.parquet"], "expected a Parquet file, found nothing at /nowhere"),
        (["length", "--architecture", "gpt"], "expected a folder or one of bert"),
        (["tokenizer", "--docs", "100000000"], "expected at least 100000000 documents"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    """With what was expected, as usage error."""
    done = CliRunner().invoke(app, ["bench", *arguments, "--folder", str(tmp_path)])
    assert done.exit_code == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_engine_says_how_to_get_it(tmp_path: Path, tiny: str) -> None:
    """Other engines are no part of an installation."""
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from corpusmill.jobs.cli import main\n"
        f"sys.argv = ['corpusmill', 'bench', 'peers', '--docs', '4', '--architecture', {tiny!r}, "
        f"'--folder', {str(tmp_path)!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs onnx: pip install 'corpusmill[bench]'" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_engines_run_in_turn(settings: Settings) -> None:
    """All of them, and ours, with ratios between those of one precision."""
    result = bench("peers", settings)
    contenders = {row["contender"] for row in result.tables["Throughput, real tokens"]}
    assert {"corpusmill float32", "ONNX Runtime int8, sorted", "OpenVINO bfloat16, sorted"} <= contenders
    (ratios,) = result.tables["Ratios"]
    assert ratios["times as fast"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("theme", NEEDS_RAY)
def test_whole_jobs_are_measured(settings: Settings, theme: str) -> None:
    """On Ray, to their end."""
    result = bench(theme, settings)
    assert all(row["tokens/s"] > 0 for row in next(iter(result.tables.values())))


@pytest.mark.skipif(util.find_spec(MINILM_PACKAGE) is None, reason=f"{MINILM_PACKAGE} is not installed")
def test_accuracy_is_of_real_weights() -> None:
    """bfloat16 keeps direction, neighbours and labels of two dozen docstrings."""
    settings = Settings(documents=24, dtypes=("bfloat16",), threads=1, rounds=1)
    (row,) = bench("accuracy", settings).tables["Agreement with float32"]
    assert row["cosine, least"] >= 0.999
    assert row["overlap of the 10 nearest"] >= 0.9
    assert row["labels that agree"] >= 0.95


def test_overlap_counts_kept_neighbours() -> None:
    """All with the same vectors, none with those that turn them around."""
    x_ND = torch.eye(4).repeat_interleave(2, 0) + 0.01 * torch.randn(8, 4, generator=torch.Generator())
    assert overlap(x_ND, x_ND, nearest=1) == 1
    assert overlap(x_ND, x_ND[[0, 2, 4, 6, 1, 3, 5, 7]], nearest=1) == 0


def test_contenders_run_in_turn_after_a_warm_up() -> None:
    """So that a machine that slows down slows all of them."""
    seen: list[str] = []
    runs = {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}
    best, every = best_seconds(runs, rounds=2, threads=0)
    assert seen == ["a", "b"] * 3
    assert best.keys() == runs.keys()
    assert [len(times) for times in every.values()] == [2, 2]


def test_every_contender_sees_the_same_tokens() -> None:
    """Packed within the budget, or padded with a mask that tells padding."""
    sequences = [[1 + (i + j) % 9 for j in range(1 + i % 7)] for i in range(50)]
    total = sum(map(len, sequences))
    packs = packed(sequences, budget=20)
    assert sum(len(batch.input_ids) for batch in packs) == total
    assert all(len(batch.input_ids) <= 20 for batch in packs)
    batches = list(padded(sequences))
    assert sum(int(mask_NL.sum()) for _, mask_NL in batches) == total
    assert all(((ids_NL > 0) == (mask_NL > 0)).all() for ids_NL, mask_NL in batches)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_what_the_family_calls_base(tmp_path: Path, shape: str) -> None:
    """Parameters of the base models, in millions, word vectors and all, without poolers."""
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
    """Its random weights are named and shaped as checkpoints are."""
    model = load_model(checkpoint_of("minilm", tmp_path), task="base")
    (states,) = (model(batch).last_hidden_state for batch in packed([[2, 5, 3]], budget=8))
    assert states.isfinite().all()


def test_an_unknown_theme_is_an_error() -> None:
    """From Python as from the command line."""
    with pytest.raises(BenchError, match="expected one of architectures"):
        bench("nothing", Settings())
