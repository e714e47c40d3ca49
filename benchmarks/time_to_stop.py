"""Seconds from a signal to the end of a run, on an idle machine and beside busy processes.

    python benchmarks/time_to_stop.py FOLDER [--runs RUNS] [--busy PROCESSES] [--signal SIGINT|SIGTERM]

FOLDER must be new or empty. Starts runs on a local Ray cluster, sends each the signal after its first data
file, and prints one JSON object per run: the seconds until the process and until the last process of its
cluster ended, and the exit code. Exits with 1 if one of them took longer than the promised 10 seconds.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.tiny_checkpoints import write_checkpoint

MAIN = "from corpusmill.jobs.cli.app import main; main()"
MARK = "CORPUSMILL_TIME_TO_STOP"
"""The environment variable that identifies the processes of a run, because all of them inherit it."""
PROMISED = 10.0
ROWS = 20_000
WORDS = "the water moves under a bridge and people walk home in the light of an old city"


def write_job(folder: Path) -> Path:
    """Write a corpus, two models and the job file; units of two rows, so that a run has many left."""
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / "embedder", "bert", "embedding", seed=1)
    write_checkpoint(folder / "classifier", "distilbert", "text-classification", seed=2)
    lines = [json.dumps({"id": row, "body": f"{row} {WORDS}"}) + "\n" for row in range(ROWS)]
    (folder / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    job = {
        "name": "time-to-stop",
        "input": {"path": str(folder / "corpus.jsonl"), "text": "body", "rows_per_unit": 2},
        "models": [
            {"checkpoint": str(folder / "embedder"), "name": "e", "task": "embedding"},
            {"checkpoint": str(folder / "classifier"), "name": "c", "task": "text-classification"},
        ],
        "output": {"path": str(folder / "out")},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def time_to_stop(job: Path, output: Path, number: signal.Signals) -> dict[str, float | int]:
    """Run the job to a new output, send the signal after its first file, and measure the time to its end."""
    command = [sys.executable, "-P", "-c", MAIN, "run", str(job), "--set", f"output.path={output}"]
    with (output.parent / f"{output.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, MARK: str(output)}
        )
        while not any((output / "data").glob("*.arrow")):
            if process.poll() is not None:
                raise SystemExit(f"the run ended before the signal, see {log.name}")
            time.sleep(0.05)
        cluster = psutil.Process(process.pid).children(recursive=True)
        sent = time.monotonic()
        os.killpg(process.pid, number)  # as a terminal does: to all processes of the group
        code = process.wait()
        ended = time.monotonic() - sent
        psutil.wait_procs(cluster, timeout=60)
    last = time.monotonic() - sent
    left = sum(_marked(found, str(output)) for found in psutil.process_iter())
    return {"seconds": round(ended, 2), "cluster_seconds": round(last, 2), "exit_code": code, "left": left}


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except psutil.Error:
        return False


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep this many processes busy while the block runs."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Measure on an idle machine, then beside busy processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--signal", choices=["SIGINT", "SIGTERM"], default="SIGINT")
    options = parser.parse_args()
    # A shell's background job ignores Ctrl-C, and its child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = write_job(options.folder.resolve())
    longest = 0.0
    for processes in (0, options.busy):
        with busy(processes):
            for run in range(options.runs):
                output = job.parent / f"out-{processes}-{run}"
                found = time_to_stop(job, output, signal.Signals[options.signal])
                longest = max(longest, found["seconds"], found["cluster_seconds"])
                print(json.dumps({"busy_processes": processes, **found}), flush=True)
    raise SystemExit(longest > PROMISED)


if __name__ == "__main__":
    main()
