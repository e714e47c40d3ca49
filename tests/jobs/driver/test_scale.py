"""Very many units: continued and listed at a cost that grows with their number in bytes only, a few each.

How long a million of them take is measured by benchmarks/million_units.py.
"""

import gc
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.million import make
from workshop import Workshop

FILES = 5
BYTES_A_UNIT = 2_000
"""What a million units may take of 2 GB."""
MEASURED = """
import re, sys
from pathlib import Path
from corpusmill.jobs.cli.app import main
try:
    main()
finally:
    # Not ru_maxrss: a new process begins with the peak of the one that started it.
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@dataclass
class Cost:
    """How often each function of the operating system was called; the peak of Python's memory in bytes."""

    calls: Counter[str] = field(default_factory=Counter)
    peak: int = 0

    def note(self, _: FrameType, event: str, called: Any) -> None:
        """Count a call of C code that asks the operating system."""
        if event == "c_call" and called.__module__ in ("posix", "_io"):
            self.calls[called.__qualname__] += 1

    def of_files(self) -> dict[str, int]:
        """The calls that look for files or open them."""
        return {name: self.calls[name] for name in ("stat", "lstat", "open", "listdir", "scandir", "unlink")}


@contextmanager
def counted() -> Iterator[Cost]:
    """Count while the block runs, in the threads that it starts too."""
    cost = Cost()
    gc.collect()
    tracemalloc.start()
    threading.setprofile(cost.note)
    sys.setprofile(cost.note)
    try:
        yield cost
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        cost.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


COMMANDS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "resumed": lambda job: ("run", job),
    "nothing left": lambda job: ("run", job),
    "listed": lambda job: ("verify", job.parent / "out", "--listing"),
}


def costs(workshop: Workshop, folder: Path, units: int) -> dict[str, Cost]:
    """What a run with two units to do costs, one with none, and a listing."""
    job = make(folder, str(workshop.embedder), units, FILES, missing=2)
    found = {}
    for name, command in COMMANDS.items():
        with counted() as found[name]:
            result = workshop.cli(*map(str, command(job)))
        assert result.exit_code == 0, result.output
    return found


@pytest.mark.slow
def test_units_cost_a_name_each(workshop: Workshop, tmp_path: Path) -> None:
    """No file is opened, no folder listed for a committed unit, and it takes little memory."""
    costs(workshop, tmp_path / "warm", 10)
    few, many = costs(workshop, tmp_path / "few", 200), costs(workshop, tmp_path / "many", 2_000)
    for name in COMMANDS:
        assert many[name].of_files() == few[name].of_files() != {}, name
        assert many[name].peak - few[name].peak < 1_800 * BYTES_A_UNIT, name


@pytest.mark.exhaustive
def test_a_million_units_fit_in_two_gigabytes(workshop: Workshop, tmp_path: Path) -> None:
    """Of 10^10 rows, at the usual size; interpreter, torch and model included."""
    job = make(tmp_path / "many", str(workshop.embedder), 1_000_000, 100, missing=2)
    commands = (
        ("plan", job),
        ("run", job, "--executor", "inline"),
        ("verify", job.parent / "out", "--listing"),
    )
    for command, *arguments in commands:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(command), *map(str, arguments), "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["units"] == 1_000_000
        assert int(done.stderr.splitlines()[-1]) < 2_000_000
