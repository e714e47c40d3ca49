"""A run of a job, or its continuation: resolve, subtract committed units, do the rest, write the manifest."""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Literal

from corpusmill.jobs.config.dates import is_dated, with_run_date
from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.driver.dated_outputs import jobs_by_date
from corpusmill.jobs.driver.events import EventLog
from corpusmill.jobs.driver.fingerprint import check_same_job, fingerprint
from corpusmill.jobs.driver.first_units import FirstUnits
from corpusmill.jobs.driver.owner import Ownership, owning
from corpusmill.jobs.driver.plan_records import units_of
from corpusmill.jobs.driver.prepare_output import prepare_output
from corpusmill.jobs.driver.result import RunResult
from corpusmill.jobs.driver.signals import raise_pending, stopping
from corpusmill.jobs.progress.live import Progress
from corpusmill.jobs.progress.tally import Tally
from corpusmill.jobs.resolve.job import ResolvedJob, resolve
from corpusmill.jobs.resolve.workers import drain_seconds, size_pools
from corpusmill.pipeline.engine.cluster import ClusterResources, cluster
from corpusmill.pipeline.engine.inline import InlineEngine
from corpusmill.pipeline.engine.messages import Engine, Scaling, UnitFailure, WorkerLost, WorkerNote
from corpusmill.pipeline.engine.placement import crowding_notes
from corpusmill.pipeline.engine.stage_times import StageTimes
from corpusmill.pipeline.errors import CorpusmillError, JobFailed, OutputError, first_line, in_a_line
from corpusmill.pipeline.input.planning import Remaining, remaining
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.machine import usable_cpus
from corpusmill.pipeline.output.append_log import AppendLog
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import RECEIPTS, Stale, receipts, write_manifest
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.spec import PipelineSpec

Executor = Literal["ray", "inline"]
MAX_CONSECUTIVE_FAILURES = 20
"""Units that may fail in a row before a job gives up: more failures would repeat the same reason."""
EVENTS = {Scaling: "scaling", WorkerLost: "worker_lost", WorkerNote: "worker_note"}


def run(  # noqa: PLR0913  as many as the command has options
    config: JobConfig,
    *,
    executor: Executor = "ray",
    address: str | None = None,
    debug: bool = False,
    origin: str = "job",
    show_progress: bool = False,
    take_over: bool = False,
    run_date: date | None = None,
    incremental: bool = False,
) -> RunResult:
    """Run a job, or continue it; ConfigError before anything starts, JobFailed if units were not finished.

    `address` connects to a running Ray cluster; without one a local cluster is started and ended. Running
    again continues: what is committed is never touched. Where another driver writes the same output,
    OutputError names it; `take_over` replaces it. `run_date`, today if not given, is what `{run_date}` in the
    output's path stands for. `incremental`: inputs may have changed or gone since the run before. Their
    results are marked as stale. A job with one output per date processes only inputs that no other date has.
    """
    settings = _Settings(executor, address, debug, show_progress, take_over, incremental)
    job = resolve(with_run_date(config, run_date or date.today()), origin, template=config.output.path)
    if show_progress:
        job.print_notes()
    if not (incremental and is_dated(config)):
        return _run(job, settings)
    results = [
        _run(date_job, settings) for date_job in jobs_by_date(job, config.output.path, fingerprint(job))
    ]
    return results[-1]


@dataclass(frozen=True, slots=True)
class _Settings:
    """The options of `run`."""

    executor: Executor
    address: str | None
    debug: bool
    show_progress: bool
    take_over: bool
    incremental: bool


def _run(job: ResolvedJob, settings: _Settings) -> RunResult:
    """Run a job, or continue it."""
    started = time.monotonic()
    folder = OutputFolder.of(job.spec.output.url, job.spec.output.format)
    check_same_job(folder, fingerprint(job))  # before anything is written into a foreign folder
    with owning(folder, take_over=settings.take_over) as ownership:
        work, unit_receipts, stale = prepare_output(folder, job, incremental=settings.incremental)
        tally = Tally(job.splits, unit_receipts.values())
        with (
            _output_errors_fail_the_job(),
            closing(EventLog(folder)) as events,
            _failure_recorded(events, ownership),
        ):
            _write_start(events, job, settings, work, tally)
            failures: list[UnitFailure] = []
            engine_times = _EngineTimes()
            with Progress(tally, enabled=settings.show_progress) as progress:
                if work.pending:
                    with _engine(job, work, settings, progress, events) as engine:
                        first = FirstUnits(
                            folder, unit_receipts.values(), wanted=job.config.input.stop_if_all_rejected
                        )
                        failures = _process(
                            engine, work, folder, unit_receipts, first, progress, events, ownership
                        )
                        engine_times = _EngineTimes(engine.worker_seconds, engine.times())
            if failures:
                raise _UnitsFailed(failures, tally)
            ownership.check()
            result = _finish(
                folder, job, unit_receipts, work, stale, tally, engine_times, time.monotonic() - started
            )
            events.write("finish", **asdict(result))
    return result


def _write_start(
    events: EventLog, job: ResolvedJob, settings: _Settings, work: Remaining, tally: Tally
) -> None:
    events.write(
        "start",
        executor=settings.executor,
        units_committed=len(work.committed),
        splits_pending=len(work.pending),
        rows_committed=tally.rows,
        rows_expected=tally.progress().rows_expected,
        rows_exact=tally.rows_exact,
        dtypes=[model.dtype_reason for model in job.models],
    )
    for note in job.notes:
        events.write("input", note=note)


@dataclass(frozen=True, slots=True)
class _EngineTimes:
    worker_seconds: float = 0.0
    stages: tuple[StageTimes, ...] = ()


@contextmanager
def _output_errors_fail_the_job() -> Iterator[None]:
    """Turn a late OutputError into a failure of the job: at first the output could be written."""
    try:
        yield
    except OutputError as error:
        raise JobFailed(str(error)) from error


class _UnitsFailed(JobFailed):
    """The failure of a run whose engine could not finish some units."""

    def __init__(self, failures: Sequence[UnitFailure], tally: Tally) -> None:
        self.units = len(failures)
        reasons = list(dict.fromkeys(failure.reason for failure in failures))
        self.first = reasons[0]
        more = f" (and {len(reasons) - 1} other reasons, see _job/events.jsonl)" if len(reasons) > 1 else ""
        super().__init__(
            f"{self.units} unit(s) could not be finished: {self.first}{more}; {tally.rows} rows "
            "are committed, run the same command again to continue"
        )


@contextmanager
def _failure_recorded(events: EventLog, ownership: Ownership) -> Iterator[None]:
    """Write the event `failed` for any error, so that `status` shows the reason.

    A run that a signal ends has not failed. After a take-over the events are the other driver's.
    """
    try:
        yield
    except Exception as error:
        if not (stopping() or ownership.replaced):
            reason = first_line(error) if isinstance(error, CorpusmillError) else in_a_line(error)
            units, first = (error.units, error.first) if isinstance(error, _UnitsFailed) else (0, reason)
            with suppress(CorpusmillError):  # the store may be what failed
                events.write("failed", units=units, first=first)
        raise


@contextmanager
def _engine(
    job: ResolvedJob, work: Remaining, settings: _Settings, progress: Progress, events: EventLog
) -> Iterator[Engine]:
    if settings.executor == "inline":
        yield InlineEngine(_sized(job, ClusterResources(usable_cpus(), 0), units=1))
        return
    with cluster(settings.address, debug=settings.debug, abandoned=stopping) as resources:
        from corpusmill.pipeline.engine.ray_engine import RayEngine  # it imports Ray

        units = sum(pending.split.about_units - len(pending.skip) for pending in work.pending)
        spec = _sized(job, resources, units=units)
        for note in crowding_notes(spec.models, cpus=resources.cpus, gpus=resources.gpus):
            progress.note(note)
            events.write("crowded", note=note)
        yield RayEngine(spec)


def _sized(job: ResolvedJob, resources: ClusterResources, *, units: int) -> PipelineSpec:
    pools = size_pools(
        job.models, cpus=resources.cpus, gpus=resources.gpus, units=units, claimed=resources.claimed
    )
    target_drain = drain_seconds(job.spec.drain_seconds, shared=resources.claimed)
    return replace(job.spec, models=pools, drain_seconds=target_drain)


def _process(
    engine: Engine,
    work: Remaining,
    folder: OutputFolder,
    unit_receipts: dict[str, Receipt],
    first_units: FirstUnits,
    progress: Progress,
    events: EventLog,
    ownership: Ownership,
) -> list[UnitFailure]:
    """Follow an engine to its end: write receipts, collect failures."""
    failures: list[UnitFailure] = []
    consecutive_failures = 0
    # Closed at once when a signal arrives in here: the engine then commits what is complete.
    with closing(AppendLog(folder, RECEIPTS)) as receipt_log, closing(engine.run(work.pending)) as outcomes:
        for outcome in outcomes:
            raise_pending()
            ownership.check()
            if isinstance(outcome, Receipt):
                receipt_log.add(outcome.to_line())
                unit_receipts[outcome.record.unit] = outcome
                progress.tally.add(outcome)
                first_units.add(outcome)
                consecutive_failures = 0
            elif isinstance(outcome, Scaling | WorkerLost | WorkerNote):
                events.write(EVENTS[type(outcome)], **asdict(outcome))
                if isinstance(outcome, WorkerNote):
                    progress.note_once(f"{outcome.model}: a worker {outcome.note}")
            elif outcome is not None:
                failures.append(outcome)
                events.write("unit_failed", unit=outcome.unit, reason=outcome.reason)
                consecutive_failures += 1
                if consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                    break
            else:
                progress.show(engine.state())
                events.progress(progress.tally)
    return failures


def _check_complete(job: ResolvedJob, unit_receipts: dict[str, Receipt]) -> None:
    """Refuse to finish an output in which units of the plan are missing; trust no engine."""
    for pending in remaining(job.splits, unit_receipts, unit_receipts).pending:
        split = pending.split
        # A byte range of JSONL in which no row begins has no unit.
        if pending.skip or READERS[split.format].count(split):
            raise JobFailed(
                f"{split.file.url}: units of this file are missing although no unit failed; committed units "
                "are right; run the same command again to do the rest, and please report this"
            )


def _check_data_files(folder: OutputFolder, unit_receipts: Collection[str], committed: set[str]) -> None:
    """Refuse to finish an output in which a data file of the manifest is missing; trust no receipt.

    A listing may be late, so files that it lacks are looked up by name, up to the first that is missing.
    """
    unlisted = sorted(set(unit_receipts) - committed)
    missing = next((path for path in map(folder.data, unlisted) if not folder.exists(path)), None)
    if missing is not None:
        raise JobFailed(
            f"{folder.url}: expected the data files of all {len(unit_receipts)} units, but {len(unlisted)} "
            f"are not listed there and {missing} is missing; they were removed, or another machine wrote "
            "them to its own disk: use an object store (s3://...) or a mount that all nodes share, then run "
            "the same command again to compute these units again"
        )


def _finish(
    folder: OutputFolder,
    job: ResolvedJob,
    unit_receipts: dict[str, Receipt],
    work: Remaining,
    stale: Sequence[Stale],
    tally: Tally,
    engine_times: "_EngineTimes",
    seconds: float,
) -> RunResult:
    _check_complete(job, unit_receipts)
    committed = folder.committed()
    _check_data_files(folder, unit_receipts, committed)
    stale_receipts = receipts(folder, units_of(stale, committed))
    write_manifest(folder, job.splits, {**unit_receipts, **stale_receipts}, stale)
    records = [receipt.record for receipt in unit_receipts.values()]
    result = RunResult(
        output=folder.url,
        rows=sum(r.rows for r in records),
        rejected=sum(r.rejected for r in records),
        tokens=sum(r.tokens for r in records),
        seconds=round(seconds, 3),
        units=len(records),
        skipped_units=len(work.committed),
        workers_peak=tally.workers_peak,
        padding_share=0.0,
        tokens_per_second=round(tally.tokens_per_second, 1),
        worker_seconds=round(engine_times.worker_seconds, 3),
        stages=engine_times.stages,
        new_rows=sum(r.rows for r in records if r.unit not in work.committed),
        new_rejected=sum(r.rejected for r in records if r.unit not in work.committed),
        stale_units=len(stale_receipts),
    )
    folder.put(folder.job("stats.json"), (json.dumps(asdict(result), indent=1) + "\n").encode())
    return result
