"""Seconds and memory of a job of a million units: plan, resume with two left and with none, verify.

    python benchmarks/million_units.py FOLDER [--units UNITS] [--files FILES]

FOLDER must be new, empty, or from an earlier run of this script. Prints one JSON object per command, with the
seconds and memory of interpreter, torch and model.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.million import make
from support.tiny_checkpoints import write_checkpoint

MAIN = "from corpusmill.jobs.cli.app import main; main()"


def run_measured(name: str, *arguments: object) -> None:
    """Run a command in a process of its own and print its seconds and memory."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", MAIN, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    figures = {
        "command": name,
        "exit_code": process.returncode,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "gigabytes": round(used.ru_maxrss / 1e6, 2),
    }
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Make the output, then measure the commands."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--units", type=int, default=10**6)
    parser.add_argument("--files", type=int, default=100)
    given = parser.parse_args()
    folder, units, files = given.folder, given.units, given.files
    job = folder / "many" / "job.yaml"
    if not job.exists():
        folder.mkdir(exist_ok=True)
        embedder = folder / "embedder"
        write_checkpoint(embedder, "bert", "embedding", width=16, layers=1, sentence_transformers=True)
        make(folder / "many", str(embedder), units, files, missing=0)
    for path in sorted((job.parent / "out" / "data").iterdir())[:2]:
        path.unlink()
    run_measured("plan", "plan", job)
    run_measured("run, 2 units left", "run", job, "--executor", "inline")
    run_measured("run, none left", "run", job, "--executor", "inline")
    run_measured("verify --listing", "verify", job.parent / "out", "--listing")


if __name__ == "__main__":
    main()
