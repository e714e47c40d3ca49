"""The first units of an output: a run that rejects all their rows for one reason stops.

Such a run would most likely reject every row, hours later (docs/decisions/0022).
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.receipts import Receipt

LEAST_UNITS, LEAST_ROWS = 3, 16
RAW_LENGTH = 80
"""The most characters of a row that the error shows."""
DETAILS = re.compile(r"(?<=not JSON).*|, got .*|\d+")
"""The parts of a reason that differ from row to row."""


class FirstUnits:
    """The units that a run has committed, as long as the output has no row; `wanted` False: no check."""

    def __init__(self, folder: OutputFolder, committed: Iterable[Receipt], *, wanted: bool) -> None:
        self._folder = folder
        self._open = wanted and not any(receipt.record.rows for receipt in committed)
        self._units: list[str] = []
        self._rows = 0

    def add(self, receipt: Receipt) -> None:
        """Note a unit; JobFailed if it completes units that have only rejects, all for one reason."""
        if not self._open:
            return
        record = receipt.record
        self._open = not record.rows
        if record.rows or not record.rejected:
            return
        self._units.append(record.unit)
        self._rows += record.rejected
        if len(self._units) >= LEAST_UNITS and self._rows >= LEAST_ROWS:
            self._open = False
            self._check_reasons()

    def _check_reasons(self) -> None:
        rejects = list(self._rejects())
        if len({DETAILS.sub("", reject["reason"]) for reject in rejects}) != 1:
            return
        first = rejects[0]
        raise JobFailed(
            f"{self._folder.url}: expected rows, but all {self._rows} rows of the first {len(self._units)} "
            f"units were rejected for one reason: {first['reason']}; for example row {first['row']} of "
            f"{first['file']}, {first['raw'][:RAW_LENGTH]}; correct the job and choose another output.path, "
            "or, if these rejects are right, run the same command with "
            "--set input.stop_if_all_rejected=false"
        )

    def _rejects(self) -> Iterator[dict[str, Any]]:
        for unit in self._units:
            for line in self._folder.read(self._folder.rejects(unit)).splitlines():
                yield json.loads(line)
