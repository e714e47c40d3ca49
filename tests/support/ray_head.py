"""A real Ray head with its dashboard on loopback, and a user's desk in front of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import Result
from support import marked_processes
from typer.testing import CliRunner

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.errors import ClusterUnreachable
from corpusmill.jobs.submission.jobs_api import JobsApi

MARK = "CORPUSMILL_TEST_HEAD"
BIN = Path(sys.executable).parent
PATIENCE = 120.0


@dataclass(frozen=True)
class Head:
    """A Ray head: its process, and the addresses of its dashboard and of its Prometheus exporter."""

    process: subprocess.Popen[bytes]
    address: str
    metrics: str
    temporary: Path

    def stop(self) -> None:
        """Ends the head and what it started."""
        _end(self.process, self.temporary)


def _end(process: subprocess.Popen[bytes], temporary: Path) -> None:
    """End a head with all that it has started, which Ray leaves to end by themselves."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    finally:
        marked_processes.end(MARK, str(temporary))
        shutil.rmtree(temporary, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start_head(folder: Path) -> Head:
    """Starts a head with its dashboard and waits until its Jobs API answers."""
    port, metrics = free_port(), free_port()
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=2", "--port=0",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--disable-usage-stats",
        f"--metrics-export-port={metrics}",
        f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}",
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    # A head notes its address for every later `ray.init` below its temporary folder: not in the default one.
    temporary = Path(tempfile.mkdtemp(prefix="h", dir="/tmp"))
    environment["RAY_TMPDIR"] = environment[MARK] = str(temporary)
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    environment.pop("RAY_ADDRESS", None)
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "head.log").read_text()
        try:
            JobsApi(address).all()
            return Head(process, address, f"http://127.0.0.1:{metrics}/metrics", temporary)
        except ClusterUnreachable:
            time.sleep(0.3)
    _end(process, temporary)
    raise AssertionError((folder / "head.log").read_text())


@dataclass(frozen=True)
class Desk:
    """Where a user sits: a working folder with a job in it, and the command line."""

    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def call(self, *arguments: object) -> Result:
        """Calls the command line."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def json(self, *arguments: object) -> Any:
        """What a command that succeeds prints with --json."""
        result = self.call(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def job(self, **changes: Any) -> Path:
        """Writes the job file with other fields of `input`."""
        fields = yaml.safe_load((self.folder / "job.yaml").read_text())
        fields["input"] |= changes
        (self.folder / "job.yaml").write_text(yaml.safe_dump(fields))
        return self.folder / "job.yaml"

    def numbered(self, rows: int) -> None:
        """Writes the input."""
        (self.folder / "in").mkdir(exist_ok=True)
        lines = [json.dumps({"id": i, "text": f"row number {i} of the input"}) + "\n" for i in range(rows)]
        (self.folder / "in/a.jsonl").write_text("".join(lines))
