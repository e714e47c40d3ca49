"""What a row's labels and its predictions share: sets of items, compared for a whole file at once."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.label_scores import Outcomes


def items(lists: pa.Array, fields: Sequence[str] = ()) -> pa.Table:
    """Return the items of a column of lists with their `row`: structs by these fields, else as `label`."""
    flat = lists.flatten()
    columns = {name: pc.struct_field(flat, name) for name in fields} or {"label": flat}
    columns["label"] = columns["label"].cast(pa.string())
    table = pa.table({"row": pc.list_parent_indices(lists).cast(pa.int64()), **columns})
    return table.filter(table["label"].is_valid())


def matched(gold: pa.Table, predicted: pa.Table) -> pa.Table:
    """Return each item once, with `gold` and `predicted`: on which sides it is."""
    both = pa.concat_tables([_marked(gold, gold=True), _marked(predicted, gold=False)])
    sides = [("gold", "any"), ("predicted", "any")]
    found = both.group_by(gold.column_names).aggregate(sides)
    return found.rename_columns({"gold_any": "gold", "predicted_any": "predicted"})


def _marked(table: pa.Table, *, gold: bool) -> pa.Table:
    sides = {"gold": gold, "predicted": not gold}
    for name, there in sides.items():
        table = table.append_column(name, pa.repeat(there, len(table)))
    return table


def outcomes(found: pa.Table) -> Outcomes:
    """Count items by label and sides."""
    counted = found.group_by(["label", "gold", "predicted"]).aggregate([([], "count_all")])
    return Outcomes(
        {(row["label"], row["gold"], row["predicted"]): row["count_all"] for row in counted.to_pylist()}
    )


def differing_rows(found: pa.Table) -> int:
    """Count the rows of which an item is on one side only."""
    differs = found.filter(pc.not_equal(found["gold"], found["predicted"]))
    return int(pc.count_distinct(differs["row"]).as_py())
