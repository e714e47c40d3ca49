"""The results of a measurement, as a record and as a page; the hardware; and timing."""

import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from corpusmill.pipeline.machine import processor, usable_cpus

Row = Mapping[str, Any]

FEATURES = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimd")
PACKAGES = ("torch", "ray", "pyarrow", "tokenizers", "transformers", "onnxruntime", "openvino")

Contender = TypeVar("Contender")
PRODUCT = (2048, 768, 3072)
"""Rows, inputs and outputs of the matrix product that dominates a layer 768 wide."""
PRODUCTS_PER_ROUND = 8


@dataclass(frozen=True)
class Table:
    """Rows under a heading; all rows have the same keys, which are the columns' names."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Findings:
    """The results of a theme: tables, and notes to them."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchResult:
    """A finished measurement, with the path of its page."""

    theme: str
    title: str
    date: str
    hardware: str
    threads: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    tables: Mapping[str, Sequence[Row]]
    notes: Sequence[str] = field(default_factory=tuple)
    page: str = ""


def page_of(result: BenchResult, command: str) -> str:
    """Return a measurement as Markdown."""
    software = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = [
        f"# {result.title}",
        "",
        f"{result.date}, {result.hardware}, {result.threads} thread(s). {software}.",
        "",
        f"Command: `{command}`",
        "",
    ]
    for heading, rows in result.tables.items():
        lines += [f"## {heading}", "", *_table(rows), ""]
    lines += [f"- {note}" for note in result.notes]
    return "\n".join(lines).rstrip() + "\n"


def write_page(folder: Path, name: str, text: str) -> Path:
    """Write a page; if there is one of today, write it under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{date.today().isoformat()}.md"
    number = 2
    while path.exists():
        path = folder / f"{name}_{date.today().isoformat()}-{number}.md"
        number += 1
    path.write_text(text, encoding="utf-8")
    return path


def _table(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(rows[0])} |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield f"| {' | '.join(map(_cell, row.values()))} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# The hardware of a measurement, in words and as a part of a file's name.


def hardware() -> str:
    """Return the CPU, its cores and the instructions that matter for speed."""
    cpu = processor()
    found = [name for name in FEATURES if name in cpu.features]
    return f"{usable_cpus()} cores of {cpu.name} ({', '.join(found) or platform.machine()})"


def hardware_label() -> str:
    """Return the hardware as a part of a file's name: 2-core-amd-epyc."""
    words = re.sub(r"\(.*?\)|@.*|cpu|processor", " ", processor().name.lower())
    return "-".join([f"{usable_cpus()}-core", *re.findall(r"[a-z0-9]+", words)])[:40].strip("-")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


# Best times of contenders that run in turn, so that changes of the machine's speed affect all of them.


def best_seconds(
    runs: Mapping[Contender, Callable[[], object]], *, rounds: int, threads: int
) -> tuple[dict[Contender, float], dict[Contender, list[float]]]:
    """Run each contender once per round, after one warm-up round; return the best and all seconds.

    With one thread the clock is the thread's CPU time, which other processes disturb less.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    seconds: dict[Contender, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if number:
                seconds[name].append(clock() - started)
    return {name: min(times) for name, times in seconds.items()}, seconds


def product(dtype: str) -> Callable[[], Any]:
    """Return a call of torch's fastest matrix product in this dtype on a CPU."""
    rows, inputs, outputs = PRODUCT
    if dtype == "int8":
        a, b = torch.ones(rows, inputs, dtype=torch.int8), torch.ones(inputs, outputs, dtype=torch.int8)
        return lambda: torch._int_mm(a, b)
    x, w = (torch.randn(*size, dtype=getattr(torch, dtype)) for size in ((rows, inputs), (outputs, inputs)))
    packed = torch.ops.mkldnn._reorder_linear_weight(w, rows)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


class PeakRate:
    """The machine's best rate in one dtype, of matrix products timed between the contenders' runs."""

    def __init__(self, dtype: str, *, threads: int) -> None:
        self._run = product(dtype)
        self._clock = time.thread_time if threads == 1 else time.perf_counter
        self._best = float("inf")

    def __call__(self) -> None:
        """Time some products."""
        for _ in range(PRODUCTS_PER_ROUND):
            started = self._clock()
            self._run()
            self._best = min(self._best, self._clock() - started)

    @property
    def flops(self) -> float:
        """The operations per second; a multiplication with its addition counts as two."""
        rows, inputs, outputs = PRODUCT
        return 2 * rows * inputs * outputs / self._best
