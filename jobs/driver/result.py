"""The counts and times of a run: printed with `--json`, kept as `_job/stats.json`."""

from dataclasses import dataclass

from corpusmill.pipeline.engine.stage_times import StageTimes


@dataclass(frozen=True, slots=True)
class RunResult:
    """The counts and times of a run.

    `rows`, `rejected`, `tokens` and `units` count the whole output; `tokens` is the sum over the models.
    `skipped_units` were done before this run; `new_rows` and `new_rejected` are from this run. `stale_units`
    are kept results of changed or removed inputs; no other field counts them. `seconds` is the wall time of
    this run.
    `padding_share` is the share of computed tokens that were padding: packed batches have none.
    `worker_seconds` are those of all encoders, start-up included; `stages` say where the time of this run
    went (docs/job-folder.md).
    """

    output: str
    rows: int
    rejected: int
    tokens: int
    seconds: float
    units: int
    skipped_units: int
    workers_peak: int
    padding_share: float
    tokens_per_second: float
    worker_seconds: float = 0.0
    stages: tuple[StageTimes, ...] = ()
    new_rows: int = 0
    new_rejected: int = 0
    stale_units: int = 0
