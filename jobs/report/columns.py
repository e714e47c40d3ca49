"""Charts of result columns, chosen by the columns' types, so that new tasks have charts too."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from corpusmill.jobs.report.charts import Dot, bars, histogram, legend, scatter

LABELS = 20
POINTS = 600
TOOLTIP_LENGTH = 300
"""Characters of a row's text that a point's tooltip shows."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its heading."""

    title: str
    chart: Markup


def figures(
    table: pa.Table, results: list[str], kept: list[str], rng: np.random.Generator
) -> Iterator[Figure]:
    """Yield the charts of all result columns; tooltips show the kept columns."""
    colors = next((name for name in results if _label_of(table[name]) is not None), None)
    for name in results:
        column = table[name]
        labels = _label_of(column)
        if labels is not None:
            yield Figure(f"{name}: labels", bars(_counted(labels)))
        for draw in (_scores, _spans, _numbers, _sizes):
            yield from draw(name, column)
        if pa.types.is_fixed_size_list(column.type) and len(column) - column.null_count > 2:
            groups = _label_of(table[colors]) if colors else None
            yield _projection(name, table, groups, kept, rng)


def _label_of(column: pa.ChunkedArray) -> pa.Array | None:
    """Return a column's labels: its own, or the first of each row's list."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pc.cast(column, kind.value_type)
    if (
        pa.types.is_list(kind)
        and _has(kind.value_type, "label", "score")
        and not _has(kind.value_type, "start")
    ):
        first = pc.list_slice(column, 0, 1)
        flat = pc.struct_field(pc.list_flatten(first), "label")
        labels = pc.cast(flat, pa.string())
        filled = pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)
        return _spread(labels, filled)
    return None


def _spread(values: pa.ChunkedArray, where: pa.ChunkedArray) -> pa.Array:
    """Return an array with the values where a mask is true, and null elsewhere."""
    mask = np.asarray(where.to_numpy())
    index = np.cumsum(mask) - 1
    return pc.take(values, pa.array(index, mask=~mask))


def _scores(name: str, column: pa.ChunkedArray) -> Iterator[Figure]:
    """Draw the scores of a score column, of lists' entries, or of answers."""
    kind = column.type
    scores = None
    if pa.types.is_floating(kind) and name.endswith("score"):
        scores = column
    elif pa.types.is_list(kind) and _has(kind.value_type, "score"):
        scores = pc.struct_field(pc.list_flatten(column), "score")
    elif _has(kind, "score"):
        scores = pc.struct_field(column, "score")
    if scores is not None and len(scores) > scores.null_count:
        counts, edges = np.histogram(pc.drop_null(scores).to_numpy(), bins=20, range=(0, 1))
        title = f"{name}: scores" if not name.endswith("score") else f"{name}"
        yield Figure(title, histogram(edges.tolist(), counts.tolist(), unit="score"))


def _spans(name: str, column: pa.ChunkedArray) -> Iterator[Figure]:
    kind = column.type
    if pa.types.is_list(kind) and _has(kind.value_type, "start", "label"):
        labels = pc.cast(pc.struct_field(pc.list_flatten(column), "label"), pa.string())
        yield Figure(f"{name}: spans by label", bars(_counted(labels)))


def _numbers(name: str, column: pa.ChunkedArray) -> Iterator[Figure]:
    """Draw numbers as a histogram, and integers or booleans as bars."""
    kind = column.type
    if pa.types.is_floating(kind) and not name.endswith("score") and len(column) > column.null_count:
        counts, edges = np.histogram(pc.drop_null(column).to_numpy(), bins=20)
        yield Figure(f"{name}: values", histogram(edges.tolist(), counts.tolist(), unit="value"))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        yield Figure(f"{name}: values", bars(_counted(pc.cast(column, pa.string()))))


def _sizes(name: str, column: pa.ChunkedArray) -> Iterator[Figure]:
    """Draw a histogram of the lists' lengths."""
    if not pa.types.is_list(column.type) or len(column) == column.null_count:
        return
    sizes = pc.drop_null(pc.list_value_length(column)).to_numpy()
    counts, edges = np.histogram(sizes, bins=np.arange(0, sizes.max() + 2) if sizes.max() < 30 else 20)
    yield Figure(f"{name}: entries per row", histogram(edges.tolist(), counts.tolist(), unit="entries"))


def _projection(
    name: str, table: pa.Table, groups: pa.Array | None, kept: list[str], rng: np.random.Generator
) -> Figure:
    """Draw embeddings in the two directions with the largest variance."""
    valid = np.flatnonzero(~np.asarray(table[name].is_null()))
    rows = np.sort(rng.choice(valid, min(len(valid), POINTS), replace=False))
    vectors = table[name].take(pa.array(rows)).combine_chunks()
    matrix = np.asarray(vectors.flatten()).reshape(len(rows), -1).astype(np.float64)
    centred = matrix - matrix.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    plane = (
        (left * sizes)[:, :2] if len(sizes) > 1 else np.column_stack((left[:, 0] * sizes[0], 0 * left[:, 0]))
    )
    variance = sizes**2 / max((sizes**2).sum(), 1e-12)
    names = [] if groups is None else [label for label, _ in _counted(groups)]
    of_row = [None] * len(rows) if groups is None else groups.take(pa.array(rows)).to_pylist()
    texts = _texts(table.select(kept).take(pa.array(rows)) if kept else None, len(rows))
    dots = [
        Dot(
            float(x),
            float(y),
            names.index(group) if group in names else 8 * bool(names),
            f"{group or ''} {text}",
        )
        for (x, y), group, text in zip(plane.tolist(), of_row, texts, strict=True)
    ]
    title = (
        f"{name}: {len(rows)} rows in the two directions that hold {variance[:2].sum():.0%} of their variance"
    )
    return Figure(
        title, scatter(dots) + (legend([*names[:8], *["others"][: len(names) > 8]]) if names else Markup())
    )


def _texts(table: pa.Table | None, count: int) -> list[str]:
    if table is None:
        return [""] * count
    return [" · ".join(str(value) for value in row.values())[:TOOLTIP_LENGTH] for row in table.to_pylist()]


def _counted(labels: pa.Array | pa.ChunkedArray) -> list[tuple[str, float]]:
    counts = Counter({row["values"]: row["counts"] for row in pc.value_counts(labels).to_pylist()})
    found = [
        ("null" if label is None else str(label), float(count)) for label, count in counts.most_common(LABELS)
    ]
    rest = counts.total() - sum(count for _, count in found)
    return [*found, (f"{len(counts) - LABELS} others", float(rest))] if rest else found


def _has(kind: pa.DataType, *names: str) -> bool:
    return pa.types.is_struct(kind) and {field.name for field in kind} >= set(names)
