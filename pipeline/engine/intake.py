"""What has come of a job's input, and what is still to come."""

from collections.abc import Mapping


class Intake:
    """What the source has given and will still give: rows are known beforehand, tokens are not."""

    def __init__(self, rows: int) -> None:
        self._rows_expected = rows
        self.rows = 0
        self._tokens: dict[str, int] = {}
        self.finished = False

    def note(self, rows: int, tokens: Mapping[str, int]) -> None:
        """Note a unit that came."""
        self.rows += rows
        for key, count in tokens.items():
            self._tokens[key] = self._tokens.get(key, 0) + count

    def expected(self, key: str) -> float | None:
        """Return the tokens of all rows, projected from those that came; None before the first."""
        if not self.rows:
            return None
        rows = self.rows if self.finished else max(self.rows, self._rows_expected)
        return self._tokens.get(key, 0) * rows / self.rows

    def came(self, key: str) -> int:
        """Return the tokens that came."""
        return self._tokens.get(key, 0)

    def backlog(self, key: str) -> float:
        """Return the tokens that are still to come."""
        return (self.expected(key) or 0.0) - self._tokens.get(key, 0)
