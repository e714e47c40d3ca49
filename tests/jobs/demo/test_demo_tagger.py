"""The demo's committed tagger: loads as any Hugging Face checkpoint, with the scores of its card."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop

from corpusmill.jobs.demo.corpus import TRUTH, collect
from corpusmill.jobs.demo.job import TAGGER, demo_job
from corpusmill.jobs.demo.spans import LABELS, true_spans
from split import is_held_out

CHECKPOINT = Path(__file__).parents[3] / "configs" / "demo" / TAGGER
LEAST_F1 = 0.95


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return json.loads((CHECKPOINT / "metrics.json").read_text(encoding="utf-8"))


def test_the_checkpoint_is_small_enough_to_ship() -> None:
    """Under 3 MB with all its files."""
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < 3_000_000


def test_it_is_a_convbert_with_the_rules_labels() -> None:
    """B- and I- of each."""
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["ConvBertForTokenClassification"]
    assert set(config["id2label"].values()) == {
        "O",
        *(f"{part}-{label}" for label in LABELS for part in "BI"),
    }


def test_the_demo_runs_three_models_of_three_architectures(tmp_path: Path) -> None:
    """In one pass over one corpus; the true spans are kept."""
    job = demo_job(tmp_path, tmp_path)
    assert [model["name"] for model in job["models"]] == ["minilm", "section", "tagger"]
    kinds = {
        json.loads((Path(model["checkpoint"]) / "config.json").read_text(encoding="utf-8"))["model_type"]
        for model in job["models"]
    }
    assert kinds == {"bert", "distilbert", "convbert"}
    assert TRUTH in job["input"]["keep"]


@pytest.mark.parametrize("name", ["metrics.json", "metrics-modules.json"])
def test_the_card_has_the_measured_figures(name: str) -> None:
    """The README has each label's scores, for held-out texts and for held-out modules."""
    measured = json.loads((CHECKPOINT / name).read_text(encoding="utf-8"))
    card = (CHECKPOINT / "README.md").read_text(encoding="utf-8")
    for label in ("all", *LABELS):
        found, baseline = measured["first"][label], measured["memory_baseline"][label]
        scores = " | ".join(f"{found[score]:.3f}" for score in ("precision", "recall", "f1"))
        assert f"| {label} | {scores} | {found['spans']:,} | {baseline['f1']:.3f} |" in card


def test_the_promised_scores_are_reached(metrics: dict[str, Any]) -> None:
    """On texts that were held out."""
    assert metrics["first"]["all"]["f1"] >= LEAST_F1


@pytest.mark.slow
def test_the_recorded_scores_are_reproduced_by_a_job(workshop: Workshop, metrics: dict[str, Any]) -> None:
    """On the texts it never saw, by `evaluate`, as the demo runs it; another Python's corpus differs."""
    held_out = [document.text for document in collect() if is_held_out(document.text)]
    workshop.rows(
        [
            {"id": i, "text": text, "truth": [span._asdict() for span in true_spans(text)]}
            for i, text in enumerate(held_out)
        ]
    )
    tagger = demo_job(workshop.folder, workshop.folder)["models"][2]
    workshop.run(models=[tagger], input__keep=["id", "truth"], input__rows_per_unit=512)
    asked = workshop.cli("evaluate", workshop.output, "--labels", "truth", "--model", "tagger", "--json")
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout)["metrics"]
    if metrics["python"].rpartition(".")[0] == f"{sys.version_info.major}.{sys.version_info.minor}":
        assert found["micro"]["f1"] >= LEAST_F1
        assert found["micro"]["f1"] == pytest.approx(metrics["first"]["all"]["f1"], abs=0.01)
    assert found["micro"]["f1"] > metrics["memory_baseline"]["all"]["f1"]
