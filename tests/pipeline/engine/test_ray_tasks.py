"""The executor changes no result: spans, answers, masks and labels of windows, of four architectures."""

from pathlib import Path
from typing import Any

import pytest
from support.task_jobs import model_of

from corpusmill.jobs import JobConfig, run

WINDOWS = {"max_length": 24, "long_text": "window", "stride": 6}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "token-classification": ("convbert", {"aggregation": "first"}),
    "question-answering": ("mobilebert", {"questions": ["who walks", "where"], "top_k": 2}),
    "fill-mask": ("squeezebert", {}),
    "zero-shot-classification": ("distilbert", {"multi_label": True}),
}


@pytest.mark.exhaustive
@pytest.mark.usefixtures("ray_cluster")
def test_ray_and_inline_give_every_kind_of_result_alike(job: dict[str, Any], tmp_path: Path) -> None:
    """To the byte, with equal texts, nulls and rejects."""
    job["models"] = [
        model_of(task, tmp_path / task, architecture, name=task.partition("-")[0], **WINDOWS, **options)
        for task, (architecture, options) in MODELS.items()
    ]
    written = []
    for executor in ("inline", "ray"):
        out = tmp_path / executor
        job["output"]["path"] = str(out)
        result = run(JobConfig.from_dict(job), executor=executor)
        assert (result.rows, result.rejected) == (597, 3)
        written.append({path.name: path.read_bytes() for path in (out / "data").iterdir()})
    assert written[0] == written[1]
