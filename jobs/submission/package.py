"""What travels to the cluster: the job file, and which corpusmill runs it."""

import importlib.metadata
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from corpusmill.jobs.config import JobConfig
from corpusmill.jobs.placement import is_dated
from corpusmill.jobs.submission.problems import SubmissionError

JOB_FILE = "job.yaml"
COMMAND = f'exec corpusmill run {JOB_FILE} --address "${{RAY_ADDRESS:-auto}}" --json'
"""What the cluster runs. `auto` alone takes the head that was started last on its machine."""
STOP_SECONDS = 60
"""Between SIGTERM and SIGKILL; a run needs some of it to commit what is complete. Ray's own default is 3."""


def command(config: JobConfig, run_date: date) -> str:
    """Return what the cluster runs for a job; an output per date gets its date there."""
    return f"{COMMAND} --run-date {run_date.isoformat()}" if is_dated(config) else COMMAND


def version() -> str:
    """Return the version of corpusmill that is installed here."""
    return importlib.metadata.version("corpusmill")


def stage(folder: Path, config: JobConfig, *, wheel: str | None, installed: bool) -> dict[str, Any]:
    """Fill the folder that is shipped and return the runtime environment that uses it.

    The package is this version from the cluster's package index; with `wheel` that file, which is shipped;
    with `installed` what the cluster's own Python has.
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
