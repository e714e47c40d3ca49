"""The chosen one of several choices: `choice`, counted from 0."""

import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.jobs.evaluate.request import Kind, Metrics, Request


class Choices:
    """The share of rows where the right choice was made."""

    def __init__(self) -> None:
        self._rows = self._right = 0

    def add(self, rows: pa.Table) -> None:
        """Count."""
        self._rows += len(rows)
        self._right += pc.sum(pc.equal(rows["prediction"], rows["label"])).as_py()

    def metrics(self) -> Metrics:
        """Return the share."""
        return {"accuracy": self._right / self._rows}


def multiple_choice(request: Request) -> Kind:
    """Score `choice` against integers."""
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("integers that count the choices from 0")
    return Kind(request.column("choice"), Choices())
