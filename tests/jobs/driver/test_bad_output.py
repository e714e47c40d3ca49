"""Output folders that are not this job's: refused with what differs, and left as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop, contents

DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "text column": ({"input__text": "title"}, "input.text: 'text' in the folder, 'title'"),
    "kept columns": (
        {"input__keep": ["id", "title"]},
        "input.keep: ['id'] in the folder, ['id', 'title']",
    ),
    "rows per unit": ({"input__rows_per_unit": 3}, "input.rows_per_unit: 8 in the folder, 3"),
    "bad rows": (
        {"input__on_bad_row": "fail"},
        "input.on_bad_row: 'reject' in the folder, 'fail'",
    ),
    "format": ({"output__format": "parquet"}, "output.format: 'arrow' in the folder, 'parquet'"),
    "compression": (
        {"output__compression": "lz4"},
        "output.compression: 'zstd' in the folder, 'lz4'",
    ),
    "dtype": (
        {"models__0__dtype": "bfloat16"},
        "models[0].dtype: 'float32' in the folder, 'bfloat16'",
    ),
    "length": ({"models__0__max_length": 16}, "models[0].max_length: 64 in the folder, 16"),
    "windows": (
        {"models__0__long_text": "window"},
        "models[0].stride: None in the folder, 128",
    ),
    "batch": (
        {"models__0__tokens_per_batch": 64},
        "models[0].tokens_per_batch: 2048 in the folder, 64",
    ),
    "name": ({"models__0__name": "b"}, "models[0].name: '' in the folder, 'b_'"),
}


@pytest.mark.parametrize(("changes", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_the_output_of_another_job_is_refused_with_what_differs(
    workshop: Workshop, changes: dict[str, Any], words: str
) -> None:
    """Everything that decides the bytes of an output, one at a time; nothing in the folder changes."""
    workshop.rows([{"id": i, "text": f"text {i}", "title": f"title {i}"} for i in range(10)])
    workshop.run()
    before = contents(workshop.output)
    result = workshop.cli("run", workshop.job(**changes))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: output.path: {workshop.output}: holds the output of another job")
    assert words in result.stderr
    assert "choose another output.path, or restore those settings" in result.stderr
    assert contents(workshop.output) == before


def test_another_checkpoint_is_another_job(workshop: Workshop) -> None:
    """Also where it gives columns of the same names."""
    workshop.numbered(4)
    workshop.run()
    result = workshop.cli(
        "run", workshop.job(models=[{"checkpoint": str(workshop.classifier), "task": "embedding"}])
    )
    assert result.exit_code == 2
    assert "models[0].checkpoint" in result.stderr


def test_another_stride_is_another_job(workshop: Workshop) -> None:
    """Of windows; where texts are cut it says nothing."""
    workshop.numbered(4)
    workshop.run(models__0__stride=7)
    assert workshop.run(models__0__stride=9).skipped_units == 1
    folder = str(workshop.folder / "windows")
    windows = {"models__0__long_text": "window", "output__path": folder}
    workshop.run(**windows, models__0__stride=7)
    result = workshop.cli("run", workshop.job(**windows, models__0__stride=9))
    assert result.exit_code == 2
    assert "models[0].stride: 7 in the folder, 9" in result.stderr


def test_computing_equal_texts_once_is_no_part_of_a_job(workshop: Workshop) -> None:
    """The results are the same, so the output is continued."""
    workshop.numbered(4)
    workshop.run()
    assert workshop.run(input__deduplicate=False).skipped_units == 1


def test_the_name_and_the_machine_are_no_part_of_a_job(workshop: Workshop) -> None:
    """Another name, pool or drain time continues the same output."""
    workshop.numbered(4)
    workshop.run()
    again = workshop.run(
        name="other", models__0__pool={"max_workers": 2}, autoscaling__target_drain_seconds=1
    )
    assert again.skipped_units == again.units == 1


def foreign_folder(folder: Path) -> Path:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter.tex").write_text("mine")
    return folder / "thesis"


def file(folder: Path) -> Path:
    (folder / "note.txt").write_text("mine")
    return folder / "note.txt"


def below_a_file(folder: Path) -> Path:
    return file(folder) / "out"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            foreign_folder,
            "expected an empty folder or this job's own output, found chapter.tex; choose another",
        ),
        (file, "expected a folder, got a file; choose another output.path"),
        (below_a_file, "expected a folder, got a file; choose another output.path"),
    ],
)
def test_a_place_that_is_no_output_folder_is_refused(
    workshop: Workshop, make: Callable[[Path], Path], words: str
) -> None:
    """And what is there stays as it is."""
    workshop.numbered(4)
    job = workshop.job(output__path=str(make(workshop.folder)))
    before = contents(workshop.folder)
    result = workshop.cli("run", job)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {job}: output.path: ")
    assert words in result.stderr
    assert contents(workshop.folder) == before


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            {"format": "arrow", "compression": "snappy"},
            "expected one of zstd, lz4, none for arrow, got 'snappy'",
        ),
        ({"format": "parquet", "compression": "zip"}, "for parquet, got 'zip'"),
    ],
)
def test_a_compression_that_the_format_lacks_is_refused(
    workshop: Workshop, output: dict[str, str], words: str
) -> None:
    """With those there are."""
    workshop.numbered(4)
    result = workshop.cli("run", workshop.job(output={"path": str(workshop.output)} | output))
    assert result.exit_code == 2
    assert "output.compression: " in result.stderr
    assert words in result.stderr


def test_a_file_in_data_that_is_no_data_file_stops_a_run(workshop: Workshop) -> None:
    """One that cannot be read, and a copy under another name; without it the run goes on."""
    workshop.numbered(20)
    workshop.run()
    stray = workshop.output / "data" / "stray.arrow"
    for content in (b"no Arrow", next(iter(workshop.data().values()))):
        stray.write_bytes(content)
        before = contents(workshop.output)
        result = workshop.cli("run", workshop.job())
        assert result.exit_code == 1
        assert f"{stray}: expected " in result.stderr
        assert "move it away and run the same command again" in result.stderr
        assert contents(workshop.output) == before
        assert "data/stray.arrow" in workshop.cli("verify", workshop.output).stdout
    stray.unlink()
    assert workshop.run().skipped_units == 3


def test_a_damaged_record_of_the_job_is_told(workshop: Workshop) -> None:
    """By run and by verify, with the file's name."""
    workshop.numbered(4)
    workshop.run()
    (workshop.output / "_job" / "fingerprint.json").write_text('{"output.')
    for result in (workshop.cli("run", workshop.job()), workshop.cli("verify", workshop.output)):
        assert result.exit_code == 1
        assert (
            "_job/fingerprint.json: expected the settings of the output's job, got a damaged file"
            in result.stderr
        )
