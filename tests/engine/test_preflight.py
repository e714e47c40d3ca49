"""What does not fit the cluster is said before anything starts, with the figures and what to change."""

from dataclasses import replace

import pytest

from corpusmill.pipeline.engine.preflight import check_fits, crowding
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import Beside, ModelSpec, PoolSpec, TokenizerSpec

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


def beside(*pools: PoolSpec) -> ModelSpec:
    """A model with several pools."""
    others = tuple(Beside(f"p{i}", "cpu", "float32", 1, pool) for i, pool in enumerate(pools[1:], 1))
    return replace(model("m", pools[0]), label="p0", beside=others)


def test_of_several_pools_of_a_model_one_has_to_fit() -> None:
    """Where all may go to nothing; a minimum has to fit in any case, by its pool's name."""
    gpu, cpu = PoolSpec(1, 1, gpus=1.0, min_workers=0), PoolSpec(4, 2, min_workers=0)
    check_fits([beside(gpu, cpu)], cpus=1, gpus=0)
    check_fits([beside(cpu, gpu)], cpus=1, gpus=0)
    with pytest.raises(JobFailed, match=r"1 GPUs at least \(m on p0: 1 x 1\), the cluster has 0;"):
        check_fits([beside(replace(gpu, min_workers=1), cpu)], cpus=64, gpus=0)
    with pytest.raises(JobFailed, match=r"1 GPUs at least \(m on p0: 1 x 1\)"):
        check_fits([beside(gpu, gpu)], cpus=64, gpus=0)
    claimed = replace(cpu, claimed_cpus=2)
    with pytest.raises(JobFailed, match=r"4 CPUs at least \(m on p0: 1 x 2, m on p1: 1 x 2\)"):
        check_fits([beside(*[replace(claimed, min_workers=1)] * 2)], cpus=4, gpus=0)
    check_fits([beside(claimed, claimed)], cpus=3, gpus=0)


def test_a_share_lies_on_one_gpu() -> None:
    """Three of 0.6 are less than two GPUs together, and do not fit."""
    with pytest.raises(
        JobFailed, match=r"1\.8 GPUs at least .*has 2, and a worker's share has to lie on one"
    ):
        check_fits([model("a", PoolSpec(3, 1, gpus=0.6, min_workers=3))], cpus=8, gpus=2)
    check_fits([model("a", PoolSpec(2, 1, gpus=0.6, min_workers=2))], cpus=8, gpus=2)


def test_a_pool_that_no_worker_of_fits_is_noted() -> None:
    """The others do it all; nothing waits for a GPU that will not come."""
    gpu, cpu = PoolSpec(1, 1, gpus=0.5, min_workers=0), PoolSpec(4, 2, min_workers=0)
    assert list(crowding([beside(gpu, cpu)], cpus=8, gpus=0)) == [
        "m on p0: no worker of 0.5 GPUs fits the cluster now; its other pools do it all"
    ]
