"""The project's own measurements: `corpusmill bench`."""

from corpusmill.jobs.bench.problems import BenchError
from corpusmill.jobs.bench.results import BenchResult
from corpusmill.jobs.bench.running import THEMES, bench
from corpusmill.jobs.bench.settings import Settings

__all__ = ["THEMES", "BenchError", "BenchResult", "Settings", "bench"]
