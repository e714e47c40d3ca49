"""`schedule add`, `list`, `remove`, `history`: what they keep, show and refuse."""

import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from support.office import Office
from support.pages import ROOT


def test_a_schedule_is_added_listed_and_removed(office: Office) -> None:
    """Under the job's name; it can be added again afterwards."""
    made = office.add("--timezone", "Europe/Berlin")
    assert made["schedule"]["name"] == "nightly"
    assert "T02:00:00+0" in made["due"]
    (listed,) = office.json("list")["schedules"]
    assert listed["schedule"] == made["schedule"]
    assert listed["due"] == made["due"]
    assert office.call("list").stdout.startswith("nightly: 0 2 * * * Europe/Berlin, due 20")
    assert office.call("remove", "nightly").exit_code == 0
    assert office.json("list") == {"schedules": []}
    assert "no schedules" in office.call("list").stdout
    office.add()


def test_looking_at_schedules_takes_no_time_away(office: Office) -> None:
    """A time that has passed and was not served yet stays the next one."""
    office.add()
    long_ago = datetime.now(UTC) - timedelta(days=5)
    office.store.set_due("nightly", long_ago)
    for _ in range(2):
        (listed,) = office.json("list")["schedules"]
        assert datetime.fromisoformat(listed["due"]) == long_ago


def test_a_name_is_used_once(office: Office) -> None:
    """The message says what to do."""
    office.add()
    again = office.call("add", "job.yaml", "--cron", "0 3 * * *")
    assert again.exit_code == 2
    assert "a schedule of this name exists" in again.stderr
    office.add("--name", "other")
    assert len(office.json("list")["schedules"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "job.yaml", "--cron", "hourly"), "--cron: expected five fields"),
        (
            ("add", "job.yaml", "--cron", "0 2 * * *", "--timezone", "Mars"),
            "--timezone: expected a time zone",
        ),
        (
            ("add", "job.yaml", "--cron", "0 0 30 2 *"),
            "--cron: expected a day from 1 to 31 that exists",
        ),
        (("add", "missing.yaml", "--cron", "0 2 * * *"), "missing.yaml: no such job file"),
        (("add", "job.yaml", "--cron", "0 2 * * *", "--executor", "dask"), "expected ray or inline"),
        (("remove", "weekly"), "weekly: no such schedule; the store has none yet"),
        (("history", "weekly"), "weekly: no such schedule"),
        (("export", "weekly", "--to", "systemd"), "expected crontab or kubernetes"),
        (("export", "weekly", "--to", "kubernetes"), "is required"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_kept(
    office: Office, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 2, no traceback."""
    result = office.call(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert office.json("list") == {"schedules": []}


def test_the_extra_can_still_be_named() -> None:
    """`pip install corpusmill[schedule]` was needed once; pip warns of an extra that is not there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["schedule"] == []
