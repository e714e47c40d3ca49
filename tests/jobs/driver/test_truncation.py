"""Where a user learns that texts were truncated: the plan, the run, its records, the report."""

import json

from workshop import Workshop


def test_truncated_rows_are_counted_per_model(workshop: Workshop) -> None:
    """In `plan`, the last lines of `run`, stats.json and the report; a model with windows has none."""
    workshop.rows([{"id": i, "text": "house " * (40 if i % 4 == 0 else 3)} for i in range(40)] + [{"id": 40}])
    models = [
        {"checkpoint": str(workshop.embedder), "name": "short", "max_length": 16},
        {"checkpoint": str(workshop.embedder), "name": "whole", "max_length": 16, "long_text": "window"},
    ]
    job = workshop.job(models=models)
    plan = json.loads(workshop.cli("plan", job, "--json").stdout)
    found = [(each["truncated_rows"], each["truncated_share"]) for each in plan["models"]]
    assert found == [(10, 0.25), (0, 0)]
    assert "about 10 rows (25.0%) would be truncated" in workshop.cli("plan", job).stdout
    result = workshop.cli("run", job)
    assert result.stdout.splitlines()[1:] == ["  short: 10 of 40 rows (25.0%) were truncated"]
    stages = json.loads((workshop.output / "_job" / "stats.json").read_text())["stages"]
    counts = {each["model"]: (each["rows"], each["truncated_rows"]) for each in stages}
    assert counts == {None: (None, None), "short": (40, 10), "whole": (40, 0)}
    page = (workshop.output / "_job" / "report.html").read_text()
    assert "rows truncated, short" in page
    assert "10 (25.0%)" in page
    assert "rows truncated, whole" not in page


def test_nothing_is_printed_if_no_row_is_truncated(workshop: Workshop) -> None:
    """A run ends with one line."""
    workshop.numbered(5)
    assert len(workshop.cli("run", workshop.job()).stdout.splitlines()) == 1
