"""Integers in a label column: the ids of a checkpoint's labels, where that is what they must mean."""

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.problems import EvaluateError


def names_of_ids(ids: pa.Array, predictions: pa.DictionaryArray) -> pa.Array:
    """Return the labels that the ids stand for.

    A file's dictionary has all labels in the checkpoint's order. Where the labels are numbers themselves, but
    other ones than their places ("1 2 3"), an integer could be either.
    """
    names = predictions.dictionary.to_pylist()
    if all(name.isdecimal() for name in names) and names != [str(i) for i in range(len(names))]:
        raise _refused(
            f"expected strings, got integers that could be the labels {', '.join(names)} or their places "
            "from 0"
        )
    least, most = (value.as_py() for value in pc.min_max(ids).values())
    if least < 0 or most >= len(names):
        raise _refused(
            f"expected ids from 0 to {len(names) - 1} of the labels {', '.join(names)}, got {least} to {most}"
        )
    return predictions.dictionary.take(ids).cast(pa.string())


def _refused(reason: str) -> EvaluateError:
    return EvaluateError(f"{reason}; keep a column with the labels' names").at("--labels")
