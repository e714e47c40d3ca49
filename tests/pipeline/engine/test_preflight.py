"""What does not fit the cluster is said before anything starts, with the figures and what to change."""

from dataclasses import replace

import pytest

from corpusmill.pipeline.engine.placement import check_fits, crowding
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec

TOKENIZER = TokenizerSpec("c", "d", "c")
MODEL = ModelSpec(
    "m", "", "c", "c", "d", "embedding", "float32", "cpu", 64, None, 2048, TOKENIZER, PoolSpec(8, 2)
)


def model(title: str, pool: PoolSpec) -> ModelSpec:
    return replace(MODEL, title=title, pool=pool)


def test_pools_that_fit_pass() -> None:
    """Minima count, not maxima; workers that claim nothing fit anywhere."""
    check_fits([MODEL], cpus=1, gpus=0)
    check_fits([model("a", PoolSpec(8, 2, claimed_cpus=2, min_workers=1))], cpus=3, gpus=0)
    check_fits([model("a", PoolSpec(8, 1, gpus=0.5)), model("b", PoolSpec(8, 1, gpus=0.5))], cpus=1, gpus=1)


def test_too_few_gpus_are_said() -> None:
    """With what each model asks for, also where a pool may start at zero."""
    models = [
        model("a", PoolSpec(2, 1, gpus=1.0, min_workers=2)),
        model("b", PoolSpec(2, 1, 0.5, min_workers=0)),
    ]
    with pytest.raises(
        JobFailed, match=r"need 2\.5 GPUs at least \(a: 2 x 1, b: 1 x 0\.5\), the cluster has 2;"
    ):
        check_fits(models, cpus=8, gpus=2)


def test_too_few_cpus_are_said_with_the_one_that_reading_takes() -> None:
    """Workers that take all CPUs would wait for units that nobody reads."""
    with pytest.raises(
        JobFailed, match=r"need 4 CPUs at least \(a: 2 x 2\) and reading one, the cluster has 4;"
    ):
        check_fits([model("a", PoolSpec(8, 2, claimed_cpus=2, min_workers=2))], cpus=4, gpus=0)


@pytest.mark.parametrize(
    ("pool", "note"),
    [
        (
            PoolSpec(8, 2),
            "2 threads are allowed, the cluster holds 3 now; more share the CPUs",
        ),
        (
            PoolSpec(8, 2, claimed_cpus=2),
            "2 CPUs beside reading are allowed, the cluster holds 2 now; others wait for nodes",
        ),
        (
            PoolSpec(8, 1, gpus=0.5),
            "0.5 GPUs are allowed, the cluster holds 4 now; others wait for nodes",
        ),
    ],
)
def test_more_workers_than_fit_are_said_before_the_start(pool: PoolSpec, note: str) -> None:
    """On 6 CPUs and 2 GPUs; as many as fit are not worth a word."""
    assert list(crowding([model("m", pool)], cpus=6, gpus=2)) == [f"m: up to 8 workers of {note}"]
    assert not list(crowding([model("m", replace(pool, workers=2))], cpus=6, gpus=2))


def test_a_share_lies_on_one_gpu() -> None:
    """Three of 0.6 are less than two GPUs together, and do not fit."""
    with pytest.raises(
        JobFailed, match=r"1\.8 GPUs at least .*has 2, and a worker's share has to lie on one"
    ):
        check_fits([model("a", PoolSpec(3, 1, gpus=0.6, min_workers=3))], cpus=8, gpus=2)
    check_fits([model("a", PoolSpec(2, 1, gpus=0.6, min_workers=2))], cpus=8, gpus=2)
