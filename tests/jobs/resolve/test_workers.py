"""Workers and threads are shared out so that every model gets some and nothing asked for is exceeded."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corpusmill.jobs.config.schema import AutoscalingConfig, ModelConfig, PoolConfig
from corpusmill.jobs.resolve.model import ResolvedModel
from corpusmill.jobs.resolve.workers import drain_seconds, size_pools
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec
from corpusmill.pipeline.tasks.task import Needs

SPEC = ModelSpec(
    "m",
    "",
    "c",
    "c",
    "d",
    "embedding",
    "float32",
    "cpu",
    64,
    None,
    2048,
    TokenizerSpec("c", "d", "c"),
    PoolSpec(1, 1),
)


def model(flops: int, device: str = "cpu", **pool: Any) -> ResolvedModel:
    config = ModelConfig(checkpoint="c", pool=PoolConfig(**pool))
    return ResolvedModel(config, replace(SPEC, device=device), flops, Needs(), (), "float32: asked for")


auto_pool = st.fixed_dictionaries(
    {},
    optional={
        "min_workers": st.integers(0, 5),
        "max_workers": st.integers(1, 8) | st.just("auto"),
        "cpus": st.integers(1, 8) | st.just("auto"),
        "gpus": st.sampled_from(["auto", 0.1, 0.25, 0.5, 1, 2.0]),
    },
)
pools = auto_pool.filter(
    lambda p: p.get("max_workers", "auto") == "auto" or p.get("min_workers", 1) <= p["max_workers"]
)
models = st.lists(
    st.tuples(st.integers(1, 10**12), st.sampled_from(["cpu", "cuda"]), pools).map(
        lambda m: model(m[0], m[1], **m[2])
    ),
    min_size=1,
    max_size=5,
)


@given(models=models, cpus=st.integers(1, 512), gpus=st.integers(0, 16), units=st.integers(0, 1000))
def test_every_model_gets_workers_with_threads_and_bounds_are_kept(
    models: list[ResolvedModel], cpus: int, gpus: int, units: int
) -> None:
    """At least one worker and one thread each; numbers that were given are taken as they are."""
    for asked, got in zip(models, size_pools(tuple(models), cpus=cpus, gpus=gpus, units=units), strict=True):
        pool = asked.config.pool
        assert got.pool.workers >= max(1, pool.min_workers)
        assert got.pool.cpus >= 1
        assert pool.max_workers in (got.pool.workers, "auto")
        assert pool.cpus in (got.pool.cpus, "auto")
        assert (got.pool.gpus > 0) == (asked.spec.device == "cuda")
        assert replace(got, pool=asked.spec.pool) == asked.spec


@given(
    flops=st.lists(st.integers(1, 10**12), min_size=1, max_size=5),
    cpus=st.integers(1, 512),
    units=st.integers(0, 1000),
)
def test_no_pool_takes_more_cpus_than_there_are(flops: list[int], cpus: int, units: int) -> None:
    """Each may take all of them while the others have nothing to do; no worker without a unit."""
    sized = size_pools(tuple(model(cost) for cost in flops), cpus=cpus, gpus=0, units=units)
    for spec in sized:
        assert spec.pool.workers * spec.pool.cpus <= cpus
        assert spec.pool.workers <= max(1, units)
        if units >= cpus:
            assert (spec.pool.workers, spec.pool.cpus) == (cpus, 1)


@given(count=st.integers(1, 7), gpus=st.integers(1, 16))
def test_models_together_fit_on_the_gpus_there_are(count: int, gpus: int) -> None:
    """Several models share one GPU instead of waiting for each other."""
    assume(count > 0)
    sized = size_pools(tuple(model(1, "cuda") for _ in range(count)), cpus=8, gpus=gpus, units=100)
    assert sum(spec.pool.workers * spec.pool.gpus for spec in sized) <= gpus
    assert all(0 < spec.pool.gpus <= 1 for spec in sized)


def test_workers_of_a_share_are_as_many_as_lie_on_the_gpus() -> None:
    """Four quarters on each; of 0.6 one on each."""
    for share, count in ((0.25, 8), (0.6, 2), (1, 2), (2, 1)):
        (sized,) = size_pools((model(1, "cuda", gpus=share),), cpus=4, gpus=2, units=100)
        assert sized.pool.workers == count


@pytest.mark.parametrize(
    ("asked", "shared", "meant"), [("auto", False, None), ("auto", True, 60), (5, False, 5), (2.5, True, 2.5)]
)
def test_a_drain_time_that_the_job_names_holds_everywhere(
    asked: float | str, shared: bool, meant: float | None
) -> None:
    """`auto` is 60 seconds on a cluster that is joined, and no drain time on a machine of one's own."""
    config = AutoscalingConfig.model_validate({"target_drain_seconds": asked})
    assert drain_seconds(config.drain_seconds, shared=shared) == meant
    assert AutoscalingConfig().target_drain_seconds == "auto"


@dataclass(frozen=True)
class Case:
    """Models' costs and pools on a machine, and the (workers, threads) expected."""

    models: list[tuple[int, dict[str, Any]]]
    cpus: int
    expected: list[tuple[int, int]]
    units: int = 1000


@pytest.mark.parametrize(
    "case",
    [
        Case([(5, {})], 2, [(2, 1)]),
        Case([(5, {})], 2, [(1, 2)], units=1),
        Case([(5, {})], 64, [(64, 1)]),
        Case([(5, {})], 64, [(10, 6)], units=10),
        Case([(5, {}), (5, {})], 2, [(2, 1), (2, 1)]),
        Case([(30, {}), (10, {})], 16, [(16, 1), (16, 1)]),
        Case([(30, {}), (10, {})], 16, [(4, 3), (4, 1)], units=4),
        Case([(10**6, {}), (1, {})], 8, [(8, 1), (8, 1)]),
        Case([(5, {"max_workers": 2})], 16, [(2, 8)]),
        Case([(5, {"cpus": 4})], 16, [(4, 4)]),
        Case([(5, {"min_workers": 3})], 2, [(3, 1)]),
        Case([(5, {"max_workers": 8, "cpus": 1})], 2, [(8, 1)]),
    ],
)
def test_threads_follow_the_cost_of_the_models(case: Case) -> None:
    """Of a part of the CPUs by cost, where there are fewer units than that; workers may be as many as fit."""
    sized = size_pools(
        tuple(model(cost, **pool) for cost, pool in case.models), cpus=case.cpus, gpus=0, units=case.units
    )
    assert [
        (spec.pool.workers, spec.pool.cpus) for spec in cast("tuple[ModelSpec, ...]", sized)
    ] == case.expected
