"""Jobs with one output per date: a date processes only inputs that no earlier date has.

The rows of an input file are in the output of one date, whose plan names the file. Unfinished dates are
finished first, with their own inputs. Results of changed or removed inputs are marked as
stale where they are.
"""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from corpusmill.jobs.driver.fingerprint import read_fingerprint
from corpusmill.jobs.driver.owner import owning
from corpusmill.jobs.driver.plan_records import read_plan, read_stale, stale_splits, write_plan, write_stale
from corpusmill.jobs.resolve.dtype import FINGERPRINT
from corpusmill.jobs.resolve.job import ResolvedJob
from corpusmill.pipeline.input.own_output import RUN_DATE, dated_pattern
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import receipts, write_manifest
from corpusmill.pipeline.storage import absolute, is_local, locate


def jobs_by_date(job: ResolvedJob, template: str, parts: dict[str, Any]) -> Iterator[ResolvedJob]:
    """Yield the jobs to run: each unfinished date with its own inputs, then the date of this job."""
    planned: set[str] = set()
    for folder in _other_dates(job, template, parts):
        date_keys = {split.key for split in read_plan(folder)}
        if folder.exists(folder.manifest):
            _mark_stale(folder, job.splits)
        else:
            yield _job_of_date(job, folder.url, [split for split in job.splits if split.key in date_keys])
        planned |= date_keys
    yield _job_of_date(job, job.spec.output.url, [split for split in job.splits if split.key not in planned])


def _other_dates(job: ResolvedJob, template: str, parts: dict[str, Any]) -> Iterator[OutputFolder]:
    """Yield the outputs of the other dates of this job that have a plan, the oldest first."""
    fs, path = locate(template)
    before, _, after = path.partition(RUN_DATE)
    pattern = re.compile(dated_pattern(path))
    glob_pattern = glob.escape(before) + "????-??-??" + glob.escape(after).replace(RUN_DATE, "????-??-??")
    for match in sorted(fs.glob(glob_pattern)):
        url = absolute(match if is_local(fs) else str(fs.unstrip_protocol(match)))
        folder = OutputFolder.of(url, job.spec.output.format)
        if not pattern.fullmatch(match) or url == job.spec.output.url:
            continue
        if folder.exists(folder.job(FINGERPRINT)) and read_fingerprint(folder) == parts:
            yield folder


def _job_of_date(job: ResolvedJob, url: str, splits: Sequence[Split]) -> ResolvedJob:
    config = job.config.model_copy(update={"output": job.config.output.model_copy(update={"path": url})})
    spec = replace(job.spec, output=replace(job.spec.output, url=url))
    return replace(job, config=config, spec=spec, splits=tuple(splits))


def _mark_stale(folder: OutputFolder, current: Sequence[Split]) -> None:
    """Mark results of changed or removed inputs in a finished output as stale."""
    keys = {split.key for split in current}
    plan = [split for split in read_plan(folder) if split.key in keys]
    committed = folder.committed()
    stale = stale_splits(folder, plan, committed, inputs={split.file.url for split in current})
    if stale == read_stale(folder):
        return
    with owning(folder):
        write_stale(folder, stale)
        write_plan(folder, plan)
        write_manifest(folder, plan, receipts(folder, committed), stale)
