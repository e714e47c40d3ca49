"""A folder with a job and schedules, and the process that serves them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.schedules.store import Run, Store

PATIENCE = 180.0


@dataclass
class Office:
    """A folder with a job, a store of schedules, and a process that serves it."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.folder / "state/schedules.sqlite")

    def call(self, *arguments: object) -> Any:
        """Calls `corpusmill schedule`."""
        return CliRunner().invoke(app, ["schedule", *map(str, arguments)])

    def json(self, *arguments: object) -> Any:
        result = self.call(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def add(self, *arguments: object, cron: str = "0 2 * * *") -> Any:
        """Adds the job as a schedule of the inline executor."""
        return self.json("add", "job.yaml", "--cron", cron, "--executor", "inline", *arguments)

    def rows(self, count: int, name: str = "a.jsonl") -> None:
        """Writes an input file."""
        (self.folder / "in").mkdir(exist_ok=True)
        lines = [json.dumps({"id": i, "text": f"row {i} of {name}"}) + "\n" for i in range(count)]
        (self.folder / "in" / name).write_text("".join(lines))

    def serve(self) -> subprocess.Popen[bytes]:
        """Starts the serving process."""
        program = "from corpusmill.jobs.cli.app import main; main()"
        with (self.folder / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, "schedule", "serve"], stdout=log, stderr=log
            )
        self.processes.append(process)
        self.wait(lambda: f"schedule(s) of {self.store.path}" in (self.folder / "serve.log").read_text())
        return process

    def due(self, name: str = "nightly") -> None:
        """Lets a schedule be due now."""
        self.store.set_due(name, datetime.now(UTC))

    def wait(self, happened: Callable[[], bool]) -> None:
        """Until something has happened."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, (self.folder / "serve.log").read_text()
            time.sleep(0.1)

    def ended(self, count: int) -> list[Run]:
        """The first runs, once so many have ended."""
        self.wait(lambda: sum(run.ended is not None for run in self.store.runs()) >= count)
        return list(reversed(self.store.runs()))

    def committed(self) -> int:
        """The data files that are there."""
        return len(list((self.folder / "out/data").glob("*.arrow")))

    def stop(self) -> None:
        """Ends what still serves, and what it left under way."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(90)
