"""A job with an output a date: what the dates before have is no work for today's.

Each input file's rows are in one date's output, the one whose plan names it. A date that was not finished is
finished first, with the inputs that it had; inputs that changed or went are marked as stale where they are.
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


def shares(job: ResolvedJob, template: str, parts: dict[str, Any]) -> Iterator[ResolvedJob]:
    """Yield what a dated job has to run: unfinished dates with what they had, then its own date's share."""
    planned: set[str] = set()
    for folder in _others(job, template, parts):
        theirs = {split.key for split in read_plan(folder)}
        if folder.exists(folder.manifest):
            _retire(folder, job.splits)
        else:
            yield _share(job, folder.url, [split for split in job.splits if split.key in theirs])
        planned |= theirs
    yield _share(job, job.spec.output.url, [split for split in job.splits if split.key not in planned])


def _others(job: ResolvedJob, template: str, parts: dict[str, Any]) -> Iterator[OutputFolder]:
    """Yield the outputs of this very job's other dates that have a plan, the oldest first."""
    fs, path = locate(template)
    before, _, after = path.partition(RUN_DATE)
    pattern = re.compile(dated_pattern(path))
    wanted = glob.escape(before) + "????-??-??" + glob.escape(after).replace(RUN_DATE, "????-??-??")
    for found in sorted(fs.glob(wanted)):
        url = absolute(found if is_local(fs) else str(fs.unstrip_protocol(found)))
        folder = OutputFolder.of(url, job.spec.output.format)
        if not pattern.fullmatch(found) or url == job.spec.output.url:
            continue
        if folder.exists(folder.job(FINGERPRINT)) and read_fingerprint(folder) == parts:
            yield folder


def _share(job: ResolvedJob, url: str, splits: Sequence[Split]) -> ResolvedJob:
    config = job.config.model_copy(update={"output": job.config.output.model_copy(update={"path": url})})
    spec = replace(job.spec, output=replace(job.spec.output, url=url))
    return replace(job, config=config, spec=spec, splits=tuple(splits))


def _retire(folder: OutputFolder, current: Sequence[Split]) -> None:
    """Mark what a finished output has of inputs that are not there any more as they were."""
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
