"""The measurements that `corpusmill bench` makes, and the parts that scripts in benchmarks/ share."""

from corpusmill.jobs.bench.results import BenchResult, Findings, Row, Table
from corpusmill.jobs.bench.running import THEMES, Measure, bench, run_measurement
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.errors import BenchError

__all__ = [
    "THEMES",
    "BenchError",
    "BenchResult",
    "Findings",
    "Measure",
    "Row",
    "Settings",
    "Table",
    "bench",
    "run_measurement",
]
