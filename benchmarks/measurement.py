"""The command line of a measurement: options, one JSON object, and a page below docs/benchmarks."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from corpusmill.jobs.bench import Measure, Settings, run_measurement
from corpusmill.models.errors import ModelError
from corpusmill.pipeline.errors import CorpusmillError


def main(about: str | None, measure: Measure, *, defaults: Settings = Settings()) -> None:  # noqa: B008  frozen
    """Measure with the given options, print the result and write its page, named after the script."""
    given = _options(about or "", defaults)
    settings = Settings(
        documents=given.docs,
        corpus=given.corpus,
        tokenizer=given.tokenizer,
        architectures=tuple(given.architecture),
        dtypes=tuple(given.dtypes.split(",")),
        tokens_per_batch=given.tokens_per_batch,
        threads=given.threads,
        rounds=given.rounds,
    )
    typed = shlex.join(["python", *sys.argv])
    try:
        found = run_measurement(Path(sys.argv[0]).stem, measure, settings, folder=given.folder, command=typed)
    except (CorpusmillError, ModelError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(asdict(found)))


def _options(about: str, defaults: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    add = parser.add_argument
    add("--docs", type=int, default=defaults.documents, help="documents to measure on")
    add("--corpus", help="Parquet with a column text; else the standard library's documentation")
    add("--tokenizer", help="a tokenizer.json; else the bundled one")
    add("--architecture", action="append", default=[], help="a base shape or a checkpoint; repeatable")
    add("--dtypes", default=",".join(defaults.dtypes), help="of the model")
    add("--tokens-per-batch", type=int, default=defaults.tokens_per_batch)
    add("--threads", type=int, default=defaults.threads, help="0: one per core")
    add("--rounds", type=int, default=defaults.rounds, help="runs of each contender, in turn")
    add("--folder", type=Path, default=Path("docs/benchmarks"), help="where the page goes")
    return parser.parse_args()
