"""Running a job, or continuing one: resolve, subtract what is committed, do the rest, write the manifest."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Literal

from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.events import EventLog
from corpusmill.jobs.fingerprint import check_same_job, fingerprint, write_fingerprint
from corpusmill.jobs.owner import Ownership, owning
from corpusmill.jobs.plan_file import write_plan
from corpusmill.jobs.pools import size_pools
from corpusmill.jobs.progress import Progress, Tally
from corpusmill.jobs.resolve import ResolvedJob, resolve
from corpusmill.pipeline.engine.cluster import cluster
from corpusmill.pipeline.engine.inline import InlineEngine
from corpusmill.pipeline.engine.outcomes import Engine, UnitFailure, WorkerLost
from corpusmill.pipeline.errors import JobFailed, OutputError
from corpusmill.pipeline.manifest import RECEIPTS, receipts, write_manifest
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.planning import Remaining, remaining
from corpusmill.pipeline.readers import READERS
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.records import Record
from corpusmill.pipeline.spec import PipelineSpec

Executor = Literal["ray", "inline"]
MAX_FAILURES = 20
"""Units that may fail in a row before a job gives up: more would only repeat the same reason."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left behind.

    `rows`, `rejected`, `tokens` and `units` count the whole output; `skipped_units` of them were there
    before this run. `seconds` is this run's wall time. `tokens` is the sum over the models.
    `padding_share` is the share of computed tokens that were padding: packed batches have none.
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


def run(
    config: JobConfig,
    *,
    executor: Executor = "ray",
    address: str | None = None,
    debug: bool = False,
    origin: str = "job",
    show_progress: bool = False,
    take_over: bool = False,
) -> RunResult:
    """Run a job, or continue it; ConfigError before anything starts, JobFailed if units were not finished.

    `address` connects to a running Ray cluster; without one a local cluster is started and ended. Running
    again continues: what is committed is never touched. Where another driver writes the same output,
    OutputError names it; `take_over` replaces it.
    """
    started = time.monotonic()
    job = resolve(config, origin)
    folder = OutputFolder.of(job.spec.output.url, job.spec.output.format)
    check_same_job(folder, fingerprint(job))  # before anything is written into a folder of somebody else's
    with owning(folder, take_over=take_over) as ownership:
        todo, found = _claim(folder, job)
        tally = Tally(job.splits, found.values())
        with _failing_late(), closing(EventLog(folder)) as events:
            events.write(
                "start",
                executor=executor,
                units_committed=len(todo.committed),
                splits_pending=len(todo.pending),
                dtypes=[model.dtype_reason for model in job.models],
            )
            failures: list[UnitFailure] = []
            with Progress(tally, enabled=show_progress) as progress:
                if todo.pending:
                    with _engine(executor, job, todo, address, debug=debug) as engine:
                        failures = _process(engine, todo, folder, found, progress, events, ownership)
            if failures:
                events.write("failed", units=len(failures), first=failures[0].reason)
                raise _failed(failures, tally)
            ownership.check()
            result = _finish(folder, job, found, todo, tally, time.monotonic() - started)
            events.write("finish", **asdict(result))
    return result


@contextmanager
def _failing_late() -> Iterator[None]:
    """Turn what goes wrong with an output that could be written at first into the job's failure."""
    try:
        yield
    except OutputError as error:
        raise JobFailed(str(error)) from error


def _claim(folder: OutputFolder, job: ResolvedJob) -> tuple[Remaining, dict[str, Receipt]]:
    """Make the folder this job's own, and return what is left to do and the receipts of what is done."""
    parts = fingerprint(job)
    continued = check_same_job(folder, parts)
    folder.sweep()
    committed = folder.committed()
    found = _receipts(folder, committed)
    todo = remaining(job.splits, committed, found)
    if not continued:
        write_fingerprint(folder, parts)
    if todo.pending:
        _reopen(folder)
    folder.put(folder.job("job.yaml"), job.config.to_yaml().encode())
    write_plan(folder, job.splits)
    return todo, found


def _receipts(folder: OutputFolder, committed: set[str]) -> dict[str, Receipt]:
    """Return the receipts of all data files; a file that is no unit's own is an OutputError."""
    found = receipts(folder, committed)
    for unit, receipt in found.items():
        if receipt.record.unit != unit:
            raise OutputError(
                f"{folder.data(unit)}: expected unit {unit}, got a copy of unit {receipt.record.unit}; "
                "move it away and run the same command again"
            )
    return found


def _reopen(folder: OutputFolder) -> None:
    """Take a finished output's manifest away: with more to do it is unfinished until that is done."""
    folder.remove(folder.manifest)


@contextmanager
def _engine(
    executor: Executor, job: ResolvedJob, todo: Remaining, address: str | None, *, debug: bool
) -> Iterator[Engine]:
    if executor == "inline":
        yield InlineEngine(_sized(job, os.cpu_count() or 1, 0, units=1))
        return
    with cluster(address, debug=debug) as resources:
        from corpusmill.pipeline.engine.ray_engine import RayEngine  # it imports Ray

        units = sum(pending.split.about_units - len(pending.skip) for pending in todo.pending)
        yield RayEngine(_sized(job, resources.cpus, resources.gpus, units=units))


def _sized(job: ResolvedJob, cpus: int, gpus: int, *, units: int) -> PipelineSpec:
    return replace(job.spec, models=size_pools(job.models, cpus=cpus, gpus=gpus, units=units))


def _process(
    engine: Engine,
    todo: Remaining,
    folder: OutputFolder,
    found: dict[str, Receipt],
    progress: Progress,
    events: EventLog,
    ownership: Ownership,
) -> list[UnitFailure]:
    """Follow an engine to its end: note receipts, gather failures."""
    failures: list[UnitFailure] = []
    in_a_row = 0
    # Closed at once when a signal arrives in here: the engine then commits what is complete.
    with closing(Record(folder, RECEIPTS)) as noted, closing(engine.run(todo.pending)) as outcomes:
        for outcome in outcomes:
            ownership.check()
            if isinstance(outcome, Receipt):
                noted.add(outcome.to_line())
                found[outcome.record.unit] = outcome
                progress.tally.add(outcome)
                in_a_row = 0
            elif isinstance(outcome, WorkerLost):
                events.write("worker_lost", **asdict(outcome))
            elif outcome is not None:
                failures.append(outcome)
                events.write("unit_failed", unit=outcome.unit, reason=outcome.reason)
                in_a_row += 1
                if in_a_row >= MAX_FAILURES:
                    break
            state = engine.state()
            progress.show(state)
            events.progress(progress.tally, state)
    return failures


def _failed(failures: list[UnitFailure], tally: Tally) -> JobFailed:
    reasons = list(dict.fromkeys(failure.reason for failure in failures))
    more = f" (and {len(reasons) - 1} other reasons, see _job/events.jsonl)" if len(reasons) > 1 else ""
    return JobFailed(
        f"{len(failures)} unit(s) could not be finished: {reasons[0]}{more}; {tally.rows} rows "
        "are committed, run the same command again to continue"
    )


def _check_whole(job: ResolvedJob, found: dict[str, Receipt]) -> None:
    """Trust no engine: before the manifest says that all is there, compare once more with the plan."""
    for pending in remaining(job.splits, found, found).pending:
        split = pending.split
        # A byte range of JSONL in which no row begins has no unit to show for it.
        if pending.skip or READERS[split.format].count(split):
            raise JobFailed(
                f"{split.file.url}: units of this file are missing although none failed; what is committed "
                "is right, run the same command again to do the rest, and please report this"
            )


def _finish(
    folder: OutputFolder,
    job: ResolvedJob,
    found: dict[str, Receipt],
    todo: Remaining,
    tally: Tally,
    seconds: float,
) -> RunResult:
    _check_whole(job, found)
    write_manifest(folder, job.splits, found)
    records = [receipt.record for receipt in found.values()]
    result = RunResult(
        output=folder.url,
        rows=sum(r.rows for r in records),
        rejected=sum(r.rejected for r in records),
        tokens=sum(r.tokens for r in records),
        seconds=round(seconds, 3),
        units=len(records),
        skipped_units=len(todo.committed),
        workers_peak=tally.workers_peak,
        padding_share=0.0,
        tokens_per_second=round(tally.tokens_per_second, 1),
    )
    folder.put(folder.job("stats.json"), (json.dumps(asdict(result), indent=1) + "\n").encode())
    return result
