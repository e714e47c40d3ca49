"""The submission of a job to a cluster."""

import importlib.metadata
import json
import re
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from corpusmill.jobs.config.dates import is_dated, with_absolute_paths, with_run_date
from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.errors import SubmissionError
from corpusmill.jobs.schedules.state_folder import state_folder
from corpusmill.jobs.submission.jobs_api import JobsApi

JOB_KEY, OUTPUT_KEY, VERSION_KEY = "corpusmill_job", "corpusmill_output", "corpusmill_version"
"""Keys of the metadata of a submission on the cluster."""

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

JOB_FILE = "job.yaml"
COMMAND = f'exec corpusmill run {JOB_FILE} --address "${{RAY_ADDRESS:-auto}}" --json'
"""The command on the cluster. `auto` alone would take the head that was started last on the machine."""
STOP_SECONDS = 60
"""Seconds between SIGTERM and SIGKILL: a run commits complete units first. Ray's own default is 3."""


@dataclass(frozen=True, slots=True)
class Package:
    """The corpusmill that the cluster runs: this version from an index, a wheel, or an installed one."""

    wheel: str | None = None
    installed: bool = False


# The submissions from this machine: one note per submission, which outlives the cluster.


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that was sent to a cluster: its id, the cluster's address, and its output."""

    id: str
    job: str
    address: str
    output: str
    submitted: float


def submit(
    config: JobConfig,
    address: str,
    *,
    package: Package = Package(),
    submission: str | None = None,
    run_date: date | None = None,
) -> Submission:
    """Send a job to a cluster and write a note; an output that another job writes is a SubmissionError.

    Relative paths are taken from the current folder. An id given as `submission` can be used once: a
    repeated command does not start a job twice. `run_date`, today if not given, is what `{run_date}`
    in the output's path stands for.
    """
    config = with_absolute_paths(config)
    day = run_date or date.today()
    output = with_run_date(config, day).output.path
    if submission is not None and not ID_PATTERN.fullmatch(submission):
        raise SubmissionError(f"expected letters, digits, ., _ and -, got {submission!r}").at("--id")
    api = JobsApi(address)
    chosen = submission or _new_id(config.name)
    _check_free(api, chosen, output)
    metadata = {JOB_KEY: config.name, OUTPUT_KEY: output, VERSION_KEY: version()}
    with tempfile.TemporaryDirectory(prefix="corpusmill-submit-") as folder:
        environment = runtime_environment(
            Path(folder), config, wheel=package.wheel, installed=package.installed
        )
        api.submit(chosen, entrypoint(config, day), environment, metadata)
    sent = Submission(chosen, config.name, api.address, output, round(time.time(), 3))
    write_note(sent)
    return sent


def _new_id(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "job"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _check_free(api: JobsApi, submission: str, output: str) -> None:
    """Refuse an id that is in use, and a second job that would write the same output."""
    for job in api.all():
        if job.id == submission:
            raise SubmissionError(
                f"{submission}: was submitted already and is {job.state}; expected an id that is new to the "
                "cluster, or none"
            ).at("--id")
        if not job.has_ended and job.metadata.get(OUTPUT_KEY) == output:
            raise SubmissionError(
                f"{output}: {job.id} is {job.state} and writes there; follow it with: corpusmill logs "
                f"{job.id} --follow, or end it with: corpusmill cancel {job.id}"
            )


def write_note(submission: Submission) -> None:
    """Write the note of a submission."""
    path = _path(submission.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(submission), indent=1) + "\n", encoding="utf-8")


def find_note(submission: str) -> Submission | None:
    """Return the note of a submission; None without one, or if it is damaged."""
    if not ID_PATTERN.fullmatch(submission):
        return None
    with suppress(OSError, ValueError, TypeError):
        return Submission(**json.loads(_path(submission).read_text(encoding="utf-8")))
    return None


def _path(submission: str) -> Path:
    return state_folder() / "submissions" / f"{submission}.json"


# The files that are sent to the cluster: the job file, and a wheel of corpusmill.


def entrypoint(config: JobConfig, run_date: date) -> str:
    """Return the command on the cluster for a job; a job with one output per date gets its date."""
    return f"{COMMAND} --run-date {run_date.isoformat()}" if is_dated(config) else COMMAND


def version() -> str:
    """Return the version of corpusmill that is installed here."""
    return importlib.metadata.version("corpusmill")


def runtime_environment(
    folder: Path, config: JobConfig, *, wheel: str | None, installed: bool
) -> dict[str, Any]:
    """Write the files to send into a folder, and return the runtime environment that uses them.

    The package is this version from the cluster's package index; with `wheel` that file, which is sent along;
    with `installed` the one that is installed on the cluster.
    """
    (folder / JOB_FILE).write_text(config.to_yaml(), encoding="utf-8")
    environment: dict[str, Any] = {
        "working_dir": str(folder),
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
    }
    if installed and wheel is not None:
        raise SubmissionError("expected one of --wheel and --installed, got both").at("--wheel")
    if wheel is not None:
        file = Path(wheel)
        if file.suffix != ".whl" or not file.is_file():
            raise SubmissionError(f"expected a wheel file of corpusmill (*.whl), got {wheel!r}").at("--wheel")
        shutil.copy(file, folder)
        environment["pip"] = [f"${{RAY_RUNTIME_ENV_CREATE_WORKING_DIR}}/{file.name}"]
    elif not installed:
        environment["pip"] = [f"corpusmill=={version()}"]
    return environment
