"""The settings that determine the bytes of an output: a run never continues the folder of another job."""

import json
from typing import Any

from corpusmill.jobs.resolve.dtype import FINGERPRINT, check_output_folder
from corpusmill.jobs.resolve.job import ResolvedJob
from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output.folder import OutputFolder

RESULT_VERSION = 3
"""Raised when the same settings would give other columns, units or values than before."""


def fingerprint(job: ResolvedJob) -> dict[str, Any]:
    """Return the settings that determine the output, by their names in the job file; inputs may grow."""
    parts: dict[str, Any] = {
        "result_version": RESULT_VERSION,
        "input.text": job.spec.input.text,
        "input.text_pair": job.spec.input.text_pair,
        "input.keep": list(job.spec.input.keep),
        "input.schema": {field.name: str(field.type) for field in job.spec.input.schema},
        "input.on_bad_row": job.spec.input.on_bad_row,
        "input.rows_per_unit": job.config.input.rows_per_unit,
        "output.format": job.spec.output.format,
        "output.compression": job.spec.output.compression or "none",
        "models": len(job.models),
    }
    for i, model in enumerate(job.spec.models):
        values = {
            "checkpoint": model.digest,
            "task": model.task,
            "name": model.prefix,
            "max_length": model.max_length,
            "stride": model.stride,
            "options": dict(model.options),
            "dtype": model.dtype,
            "tokens_per_batch": model.tokens_per_batch,
        }
        parts |= {f"models[{i}].{name}": value for name, value in values.items()}
    return parts


def check_same_job(folder: OutputFolder, expected: dict[str, Any]) -> bool:
    """Return whether the folder already belongs to this job; a folder of another job is an OutputError."""
    path = folder.job(FINGERPRINT)
    if not folder.exists(path):
        check_output_folder(folder)
        return False
    recorded = read_fingerprint(folder)
    changed = [
        f"{name}: {recorded.get(name)!r} in the folder, {expected.get(name)!r} in the job"
        for name in sorted({*recorded, *expected})
        if recorded.get(name) != expected.get(name)
    ]
    if changed:
        raise OutputError(
            f"{folder.url}: holds the output of another job, which differs in {'; '.join(changed[:5])}; "
            "choose another output.path, or restore those settings to continue it"
        ).at("output.path")
    return True


def open_output(url: str) -> tuple[OutputFolder, dict[str, Any]]:
    """Return the output of a job, in its own format, and the job's settings; else raise an OutputError."""
    probe = OutputFolder.of(url, "arrow")
    if not probe.exists(probe.job(FINGERPRINT)):
        raise OutputError(
            f"{probe.url}: expected the output folder of a job, found no _job/{FINGERPRINT}; check the path"
        )
    job = read_fingerprint(probe)
    return OutputFolder.of(url, job["output.format"]), job


def read_fingerprint(folder: OutputFolder) -> dict[str, Any]:
    """Read the settings of a folder's job; a damaged record is an OutputError."""
    try:
        recorded = json.loads(folder.read(folder.job(FINGERPRINT)))
        recorded["output.format"], recorded["input.keep"], recorded["input.text"]
    except (ValueError, KeyError, TypeError):
        raise OutputError(
            f"{folder.job(FINGERPRINT)}: expected the settings of the output's job, got a damaged file; "
            "restore it, or choose another output.path"
        ) from None
    return dict(recorded)


def write_fingerprint(folder: OutputFolder, parts: dict[str, Any]) -> None:
    """Reserve the folder for a job."""
    folder.put(folder.job(FINGERPRINT), (json.dumps(parts, indent=1, sort_keys=True) + "\n").encode())
