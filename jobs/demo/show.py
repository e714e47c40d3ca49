"""The demo: collect the corpus, run the job, print samples of its output."""

import sys
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import yaml
from rich.console import Console
from rich.table import Table

from corpusmill.jobs.config.schema import JobConfig
from corpusmill.jobs.demo.corpus import collect, write_jsonl
from corpusmill.jobs.demo.job import demo_job
from corpusmill.jobs.driver.result import RunResult
from corpusmill.jobs.driver.runner import Executor, run
from corpusmill.pipeline.checkpoints.find import find_checkpoint

QUERY = "wait until several threads have reached the same point"
SAMPLES = 5
NEIGHBOURS = 3
EXAMPLES = 5


def run_demo(output: str, *, executor: Executor = "ray", debug: bool = False) -> RunResult:
    """Write OUTPUT/corpus, OUTPUT/job.yaml and the job's output OUTPUT/result, and print samples of it."""
    root = Path(output).expanduser().resolve()
    progress = Console(stderr=True, soft_wrap=True, markup=False)
    shards = write_jsonl(collect(), root / "corpus")
    job = demo_job(root / "corpus", root / "result")
    (root / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    progress.print(
        f"wrote the standard library's documentation to {len(shards)} JSONL shards; "
        f"running {root / 'job.yaml'}"
    )
    result = run(
        JobConfig.from_dict(job, "demo"), executor=executor, debug=debug, origin="demo", show_progress=True
    )
    rows = pyarrow.dataset.dataset(root / "result" / "data", format="ipc").to_table()
    _show(result, rows, job["models"][0]["checkpoint"], root)
    return result


def _show(result: RunResult, rows: pa.Table, embedder: str, root: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110, markup=False)
    console.print(
        f"{result.rows:,} documents, {result.tokens:,} tokens, {result.seconds:.0f} s "
        f"({result.tokens_per_second:,.0f} tokens/s) -> {root / 'result'}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        _table(
            "five documents",
            rows.take(np.linspace(0, rows.num_rows - 1, SAMPLES).astype(int)),
            {
                "document": lambda row: f"{row['module']}.{row['name']}".rstrip("."),
                "section": lambda row: f"{row['section_label']} ({row['section_score']:.2f})",
                "minilm_embedding": lambda row: (
                    "["
                    + ", ".join(f"{x:+.3f}" for x in row["minilm_embedding"][:3])
                    + f", … {len(row['minilm_embedding'])}]"
                ),
            },
        )
    )
    console.print(
        _table(
            "spans of the tagger",
            spans_by_label(rows["tagger_spans"]),
            {
                "kind of span": lambda row: row["label"],
                "found": lambda row: f"{row['spans']:,}",
                "most often": lambda row: shorten(", ".join(row["examples"]), 76, placeholder=" …"),
            },
        )
    )
    nearest, similarity = neighbours(rows, QUERY, embedder)
    scores = iter(similarity.tolist())
    console.print(
        _table(
            f"nearest to: {QUERY}",
            nearest,
            {
                "cosine": lambda _: f"{next(scores):.3f}",
                "document": lambda row: f"{row['module']}.{row['name']}".rstrip("."),
                "text": lambda row: row["text"].splitlines()[0][:60],
            },
        )
    )
    console.print("to count the labels with DuckDB:", highlight=False)
    console.print(duckdb_line(root / "result" / "data"), markup=False, highlight=False, soft_wrap=True)


def neighbours(
    rows: pa.Table, query: str, embedder: str, count: int = NEIGHBOURS
) -> tuple[pa.Table, np.ndarray[Any, Any]]:
    """Return the rows nearest to a query by cosine, best first, and their similarities."""
    from corpusmill.models import PackedTokens, load_model
    from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

    model = load_model(find_checkpoint(embedder).folder, task="embedding")
    ids = load_tokenizer(str(model.checkpoint.folder)).encode(query).ids
    vector = model(PackedTokens.from_sequences([ids])).embeddings[0].numpy()
    matrix = rows["minilm_embedding"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)
    similarity = matrix @ vector
    best = np.argsort(-similarity, kind="stable")[:count]
    return rows.take(best), similarity[best]


def spans_by_label(spans: pa.ChunkedArray) -> pa.Table:
    """Return the number of spans of each label and the texts that occur most often, most spans first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for span in chain.from_iterable(spans.to_pylist()):
        found[span["label"]][" ".join(span["text"].split())] += 1
    by_number = sorted(found.items(), key=lambda item: -item[1].total())
    return pa.Table.from_pylist(
        [
            {
                "label": label,
                "spans": texts.total(),
                "examples": [text for text, _ in texts.most_common(EXAMPLES)],
            }
            for label, texts in by_number
        ]
    )


def duckdb_line(data: Path) -> str:
    """Return a command that reads the output with DuckDB."""
    return (
        f"""python -c "import duckdb, pyarrow.dataset as d; docs = d.dataset('{data}', format='ipc'); """
        """print(duckdb.sql('select section_label, count(*) n from docs group by all """
        """order by n desc limit 5'))\""""
    )


def _table(title: str, rows: pa.Table, columns: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="ellipsis", no_wrap=True, min_width=len(name))
    for row in rows.to_pylist():
        table.add_row(*(cell(row) for cell in columns.values()))
    return table
