"""A model with several pools: said in the job file, kept in the fingerprint, planned and told of by pool."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_pools import SPEC
from workshop import Workshop

from corpusmill.jobs import ConfigError, JobConfig, run
from corpusmill.jobs.config import ModelConfig
from corpusmill.jobs.models import ResolvedModel
from corpusmill.jobs.pool_config import DevicePoolConfig
from corpusmill.jobs.pools import size_pools
from corpusmill.jobs.resolve import resolve
from corpusmill.jobs.standing import Standing
from corpusmill.jobs.tally import Tally
from corpusmill.jobs.view import line
from corpusmill.pipeline.engine.outcomes import EngineState, PoolState
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.spec import Beside, ModelSpec, PoolSpec
from corpusmill.pipeline.task import Needs

CPU, CUDA = {"device": "cpu"}, {"device": "cuda"}


def problems(workshop: Workshop, **model: Any) -> dict[str, str]:
    """What is wrong with a job whose model has these fields."""
    fields = workshop.fields()
    fields["models"][0] |= model
    with pytest.raises(ConfigError) as found:
        resolve(JobConfig.from_dict(fields))
    return {problem.field: problem.message for problem in found.value.problems}


@pytest.mark.parametrize(
    ("model", "where", "said"),
    [
        ({"pools": [CPU], "pool": {}}, "models[0]", "expected pools alone, got pool too"),
        ({"pools": [CPU], "device": "cpu"}, "models[0]", "expected pools alone, got device too"),
        ({"pools": []}, "models[0].pools", "at least 1"),
        ({"pools": [{}]}, "models[0].pools[0].device", "is required"),
        ({"pools": [CPU, {"device": "auto"}]}, "models[0].pools[1].device", "expected 'cpu' or 'cuda'"),
        (
            {"pools": [CPU | {"gpus": 0.5}]},
            "models[0].pools[0]",
            "expected no gpus with device: cpu, got 0.5",
        ),
        ({"pools": [CUDA | {"gpus": 0}]}, "models[0].pools[0]", "expected a share of a GPU"),
        (
            {"pools": [CUDA | {"gpus": 1.5}, CPU]},
            "models[0].pools[0].gpus",
            "or a whole number of them, got 1.5",
        ),
        ({"pools": [CPU | {"min_workers": 3, "max_workers": 2}]}, "models[0].pools[0]", "got 3 and 2"),
        ({"pools": [CPU | {"worker": 3}]}, "models[0].pools[0].worker", "did you mean 'min_workers'?"),
        (
            {"pools": [CPU, CPU | {"dtype": "float16"}]},
            "models[0].pools[1].dtype",
            "float16 needs a CUDA device",
        ),
        ({"pools": [CUDA, CPU], "dtype": "int8"}, "models[0].pools[0].dtype", "int8 needs a CPU"),
        ({"pools": [CUDA, CUDA]}, "models[0].pools[0].device", "expected a CUDA device, found none"),
    ],
)
def test_what_is_wrong_with_pools_is_said_where_it_is(
    workshop: Workshop, model: dict[str, Any], where: str, said: str
) -> None:
    """With what was expected and what was there."""
    workshop.numbered(8)
    found = problems(workshop, **model)
    assert where in found, found
    assert said in found[where]


def test_a_job_with_pools_is_written_as_it_was_read(workshop: Workshop, tmp_path: Path) -> None:
    """What `_job/job.yaml` keeps runs again as the same job; a job with `pool` too."""
    for model in (
        {"pools": [CUDA | {"gpus": 0.5, "dtype": "bfloat16"}, CPU | {"min_workers": 0}]},
        {"pool": {}},
    ):
        fields = workshop.fields()
        fields["models"][0] |= model
        config = JobConfig.from_dict(fields)
        (tmp_path / "again.yaml").write_text(config.to_yaml(), encoding="utf-8")
        assert JobConfig.from_yaml(tmp_path / "again.yaml") == config


def spec_of(workshop: Workshop, **model: Any) -> ModelSpec:
    """The resolved model of a job."""
    fields = workshop.fields()
    fields["models"][0] |= model
    return resolve(JobConfig.from_dict(fields)).models[0].spec


def test_pools_have_the_models_fields_where_they_name_none(workshop: Workshop) -> None:
    """dtype and tokens a batch; and labels that tell them apart."""
    workshop.numbered(8)
    held = spec_of(
        workshop,
        dtype="float32",
        pools=[CPU | {"tokens_per_batch": 512}, CUDA | {"dtype": "float16"}, CPU | {"dtype": "bfloat16"}],
    ).by_pool
    assert [(one.label, one.device, one.dtype, one.tokens_per_batch) for one in held] == [
        ("cpu 1", "cpu", "float32", 512),
        ("cuda", "cuda", "float16", 65536),
        ("cpu 2", "cpu", "bfloat16", 2048),
    ]
    assert all(one.beside == () for one in held)
    (alone,) = spec_of(workshop, dtype="float32").by_pool
    assert (alone.label, alone.pool_name) == ("", alone.title)


def test_the_fingerprint_names_every_pools_device_and_dtype(workshop: Workshop) -> None:
    """Numbers of workers may change; a pool may not come, go, or change its dtype."""
    workshop.numbered(20)
    one = {**CPU, "dtype": "float32"}
    two = {**CUDA, "dtype": "float16"}
    workshop.run(models__0__pools=[one, two])
    kept = json.loads((workshop.output / "_job" / "fingerprint.json").read_text())
    assert kept["models[0].pools.cpu"] == {"device": "cpu", "dtype": "float32", "tokens_per_batch": 2048}
    assert kept["models[0].pools.cuda"] == {"device": "cuda", "dtype": "float16", "tokens_per_batch": 65536}
    assert not {"models[0].dtype", "models[0].tokens_per_batch"} & kept.keys()
    again = workshop.run(models__0__pools=[two | {"min_workers": 0}, one | {"max_workers": 7}])
    assert again.skipped_units == again.units
    for changed in ([one], [one, two | {"dtype": "bfloat16"}], [one, one]):
        with pytest.raises(CorpusmillError, match="holds the output of another job"):
            workshop.run(models__0__pools=changed)
    with pytest.raises(CorpusmillError, match=r"models\[0\].pools.cpu: \{.*\} there, None in the job"):
        workshop.run()


def test_auto_means_in_each_pool_what_it_meant_when_the_output_was_begun(workshop: Workshop) -> None:
    """On whichever machine the job goes on."""
    workshop.numbered(8)
    workshop.run(models__0__pools=[CPU, CUDA])
    path = workshop.output / "_job" / "fingerprint.json"
    kept = json.loads(path.read_text())
    assert kept["models[0].pools.cuda"]["dtype"] == "bfloat16"
    kept["models[0].pools.cpu"]["dtype"] = "bfloat16"
    kept["models[0].pools.cuda"]["dtype"] = "float32"
    path.write_text(json.dumps(kept))
    held = spec_of(workshop, pools=[CUDA, CPU]).by_pool
    assert [(one.label, one.dtype) for one in held] == [("cuda", "float32"), ("cpu", "bfloat16")]


def test_inline_takes_the_first_pool_that_this_machine_can_serve(workshop: Workshop) -> None:
    """With its tokens a batch and dtype; its stage says which it was. The bytes are those of one pool."""
    workshop.numbered(40)
    workshop.run(models__0__dtype="float32", models__0__pool={"cpus": 1})
    alone = workshop.data()
    one = CPU | {"dtype": "float32", "cpus": 1}
    result = workshop.run(
        models__0__pools=[CUDA, one, CPU | {"dtype": "bfloat16"}],
        output__path=str(workshop.folder / "both"),
    )
    (stage,) = [stage for stage in result.stages if stage.stage == "encode"]
    assert (stage.pool, stage.units) == ("cpu 1", result.units)
    assert {path.name: path.read_bytes() for path in (workshop.folder / "both" / "data").iterdir()} == alone


def test_a_plan_counts_each_pool(workshop: Workshop) -> None:
    """Tokens are shared as the rates are; a pool that cannot be measured here counts once it has a rate."""
    workshop.numbered(40)
    job = workshop.job(
        models__0__pools=[CUDA | {"min_workers": 2, "max_workers": 2}, CPU | {"max_workers": 1, "cpus": 1}]
    )
    found = json.loads(workshop.cli("plan", job, "--json").stdout)
    gpu, cpu = found["models"]
    assert (gpu["pool"], gpu["tokens"], gpu["tokens_per_second"]) == ("cuda", 0, 0)
    assert (cpu["pool"], cpu["tokens"]) == ("cpu", found["tokens"])
    assert cpu["tokens_per_second"] > 0
    title = cpu["model"]
    told = workshop.cli("plan", job).stdout
    assert (
        f"{title} on cuda in bfloat16: not measured here; --rate '{title} on cuda=TOKENS' counts it in"
        in told
    )
    rates = ("--rate", f"{title} on cuda=300", "--rate", f"{title} on cpu=200")
    rated = workshop.cli("plan", job, "--json", *rates)
    gpu, cpu = json.loads(rated.stdout)["models"]
    assert (gpu["tokens_per_second"], cpu["tokens_per_second"]) == (600, 200)
    assert gpu["tokens"] == pytest.approx(0.75 * found["tokens"], abs=1)
    assert gpu["tokens"] + cpu["tokens"] == found["tokens"]
    assert gpu["seconds"] == cpu["seconds"]


def resolved(flops: int, *pools: dict[str, Any]) -> ResolvedModel:
    config = ModelConfig(checkpoint="c", pools=[DevicePoolConfig(**pool) for pool in pools])
    first, *others = (
        Beside(str(i), pool["device"], "float32", 1, PoolSpec(1, 1)) for i, pool in enumerate(pools)
    )
    spec = replace(SPEC, label=first.label, device=first.device, beside=tuple(others))
    return ResolvedModel(config, spec, flops, Needs(), (), "float32: asked for")


@given(
    devices=st.lists(st.lists(st.sampled_from([CPU, CUDA]), min_size=1, max_size=3), min_size=1, max_size=3),
    cpus=st.integers(1, 256),
    gpus=st.integers(1, 8),
)
def test_pools_of_all_models_together_take_what_there_is(
    devices: list[list[dict[str, str]]], cpus: int, gpus: int
) -> None:
    """A model's part of the CPUs, or of the GPUs, is shared by its pools on them."""
    models = tuple(resolved(10, *pools) for pools in devices)
    sized = size_pools(models, cpus=cpus, gpus=gpus, units=10_000)
    held = [one for model in sized for one in model.by_pool]
    on_cpu = [one.pool for one in held if one.device == "cpu"]
    on_gpu = [one.pool for one in held if one.device == "cuda"]
    assert all(pool.gpus == 0 for pool in on_cpu)
    assert sum(pool.workers * pool.cpus for pool in on_cpu) <= cpus + len(on_cpu)
    assert sum(pool.workers * pool.gpus for pool in on_gpu) <= gpus + 1e-6
    assert all(pool.gpus > 0 for pool in on_gpu)


def test_workers_of_a_share_are_as_many_as_lie_on_the_gpus() -> None:
    """Four quarters on each; of 0.6 one on each."""
    for share, count in ((0.25, 8), (0.6, 2), (1, 2), (2, 1)):
        (sized,) = size_pools((resolved(1, CUDA | {"gpus": share}, CPU),), cpus=4, gpus=2, units=100)
        assert sized.by_pool[0].pool.workers == count


def standing(*pools: PoolState, now: float = 10.0) -> tuple[Tally, Standing]:
    tally = Tally((), (), now=0.0)
    zero = tuple(replace(pool, done_tokens=0, tokens=0) for pool in pools)
    tally.observe(EngineState(zero, 0), now=0.0)
    tally.observe(EngineState(pools, sum(pool.tokens for pool in pools)), now=now)
    return tally, tally.standing()


def test_the_time_left_is_of_a_models_pools_together() -> None:
    """A pool that does nothing holds nobody up; what waits is counted once."""
    shared = {"left_tokens": 3_000, "max_workers": 8}
    gpu = PoolState("m", 2_000, 1, 0, tokens=1_200, done_tokens=1_000, pool="cuda", **cast(Any, shared))
    cpu = PoolState("m", 2_000, 0, 2, tokens=600, done_tokens=500, pool="cpu", **cast(Any, shared))
    tally, found = standing(gpu, cpu)
    assert tally.seconds_left == pytest.approx(3_000 / 150)
    assert found.tokens_expected == 1_800 * 3
    idle = replace(cpu, tokens=0, done_tokens=0)
    assert standing(gpu, idle)[0].seconds_left == pytest.approx(3_000 / 100)
    assert line(found).endswith(
        "m: 2,000 tokens queued, 1 of 8 workers on cuda, 0 +2 starting of 8 workers on cpu"
    )
    assert Standing.from_event(json.loads(json.dumps(found.to_event()))).pools == found.pools


def test_without_a_gpu_a_job_of_gpu_pools_alone_is_refused_at_once(workshop: Workshop) -> None:
    """Before anything is written."""
    workshop.numbered(8)
    with pytest.raises(ConfigError, match="found none"):
        run(JobConfig.from_dict(workshop.fields(models__0__pools=[CUDA])), executor="inline")
    assert not workshop.output.exists()
