"""`dtype: auto` means the same on one machine, whatever was measured later."""

from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread

import pytest
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop, contents

from corpusmill.jobs.resolve import dtype
from corpusmill.jobs.resolve.dtype import measured_once
from corpusmill.models import DtypeChoice

DTYPES = ["float32", "bfloat16"]


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was measured, by a machine that finds another dtype the best each time."""
    taken: list[str] = []

    def measure(width: int, dtypes: Sequence[str]) -> DtypeChoice:
        taken.append(dtypes[len(taken) % len(dtypes)])
        return DtypeChoice(taken[-1], f"{taken[-1]}: at {width}")

    monkeypatch.setattr(dtype, "measure", measure)
    return taken


def test_what_was_measured_stays(turns: list[str], cache: Path) -> None:
    """With its reason and the day; another width or other candidates are another question."""
    first, again = measured_once(768, DTYPES), measured_once(768, DTYPES)
    assert (first.dtype, again.dtype, turns) == ("float32", "float32", ["float32"])
    assert again.reason.startswith("float32: at 768, measured here on 20")
    assert measured_once(384, DTYPES).dtype == "bfloat16"
    measured_once(768, [*DTYPES, "int8"])
    assert len(turns) == 3


@pytest.mark.parametrize("change", ["processor", "threads", "torch"])
def test_another_machine_is_measured_anew(
    turns: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """One that shares the cache of this one, or this one after an upgrade."""
    measured_once(768, DTYPES)
    patches = {
        "processor": lambda: monkeypatch.setattr(dtype, "_processor", lambda: "another one"),
        "threads": lambda: monkeypatch.setattr(dtype.torch, "get_num_threads", lambda: 77),
        "torch": lambda: monkeypatch.setattr(dtype.torch, "__version__", "99.0"),
    }
    patches[change]()
    assert measured_once(768, DTYPES).dtype == "bfloat16"
    assert len(turns) == 2


@pytest.mark.parametrize("content", ["", "[1]", '{"dtype": "int4", "reason": "", "date": ""}', "{}"])
def test_a_damaged_record_is_measured_again(turns: list[str], cache: Path, content: str) -> None:
    """And replaced."""
    measured_once(768, DTYPES)
    (record,) = (cache / "measured").glob("*.json")
    record.write_text(content)
    assert [measured_once(768, DTYPES).dtype for _ in range(2)] == ["bfloat16"] * 2
    assert len(turns) == 2


def test_a_cache_that_cannot_be_written_is_no_error(
    turns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where its folder should be."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CORPUSMILL_CACHE", str(tmp_path / "file" / "cache"))
    assert [measured_once(768, DTYPES).dtype for _ in range(2)] == ["float32", "bfloat16"]


def test_those_that_ask_at_once_are_told_the_same(turns: list[str]) -> None:
    """One of them measures."""
    start, found = Barrier(8), []

    def ask() -> None:
        start.wait()
        found.append(measured_once(768, DTYPES).dtype)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, turns) == (["float32"] * 8, ["float32"])


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A model wide enough for `auto` to be measured."""
    return write_checkpoint(tmp_path / "wide", "bert", "embedding", width=128, layers=1)


def test_the_same_settings_give_the_same_bytes_with_auto(
    workshop: Workshop, wide: Path, turns: list[str]
) -> None:
    """Two outputs of a job whose dtype would be measured the other way the second time."""
    workshop.numbered(20)
    for name in ("one", "other"):
        output = workshop.folder / name
        workshop.run(output__path=str(output), models=[{"checkpoint": str(wide)}])
    assert turns == ["float32"]
    one, other = (contents(workshop.folder / name / "data") for name in ("one", "other"))
    assert one == other != {}
