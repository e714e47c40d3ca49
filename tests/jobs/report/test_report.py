"""The report: its content, without network access, and with the corpus's texts escaped."""

import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.browser import chromium, opened, pictured
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.report.write import report

ATTACK = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


class Tags(HTMLParser):
    """The elements of a page, with their attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def browser() -> str:
    """Chromium; without it a test is skipped."""
    found = chromium()
    if found is None:
        pytest.skip("no Chromium here (apt-get install chromium, or $CHROMIUM)")
    return found


def models(workshop: Workshop) -> list[dict[str, Any]]:
    """Three models whose columns have charts of different kinds."""
    tagger = workshop.folder / "tagger"
    labels = (f"neg{ATTACK}", f"pos{ATTACK}")
    write_checkpoint(tagger, "distilbert", "token-classification", width=16, layers=1, seed=2, labels=labels)
    return [
        {"checkpoint": str(workshop.embedder), "name": "vector"},
        {"checkpoint": str(workshop.classifier), "name": "mood"},
        {"checkpoint": str(tagger), "name": "names"},
    ]


@pytest.fixture
def finished(workshop: Workshop) -> Workshop:
    """A finished output with rejects, whose texts and file names are an attack."""
    rows = [{"id": f"{i} {ATTACK}", "text": f"row {i} {ATTACK}"} for i in range(60)]
    lines = [json.dumps(row) for row in rows] + [f"no json {ATTACK}"]
    workshop.lines(lines, "in/<b>&'name.jsonl")
    workshop.run(models=models(workshop), input__keep=["id", "text"])
    return workshop


def events(workshop: Workshop, *, workers: tuple[int, ...] = (1, 2, 1)) -> None:
    """Writes the events of a run that a pool's scaling is seen in."""
    lines = [{"time": 1000.0, "event": "start", "executor": "ray"}]
    for i, count in enumerate(workers):
        pool = {"model": "mood", "queued_tokens": 500 * i, "workers": count, "starting": 0}
        progress = {"time": 1010.0 + 10 * i, "event": "progress", "tokens": 10_000 * (i + 1), "pools": [pool]}
        reason = f"3 units wait {ATTACK}"
        scaling = {"time": 1011.0 + 10 * i, "event": "scaling", "model": "mood", "before": 1, "after": count}
        lines += [progress, scaling | {"reason": reason}]
    stages: list[dict[str, Any]] = [{"stage": "read", "model": None, "busy_seconds": 1.5}]
    stages += [{"stage": "encode", "model": "mood", "busy_seconds": 40.0, "waiting_seconds": 2.0}]
    lines.append({"time": 1045.0, "event": "finish", "stages": stages})
    path = workshop.output / "_job/events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"time": 1046.0, "ev')


def written(workshop: Workshop) -> str:
    """The page of the output."""
    result = report(str(workshop.output), str(workshop.folder / "report.html"))
    page = Path(result.html).read_text(encoding="utf-8")
    assert result.bytes == len(page.encode())
    return page


def test_every_kind_of_result_has_its_chart(finished: Workshop) -> None:
    """Labels, scores, spans, embeddings with the text of each point, lengths, rejects, rows, settings."""
    page = Tags(written(finished))
    for title in (
        "mood_label: labels",
        "mood_score",
        "names_spans: spans by label",
        "names_spans: entries per row",
        "vector_embedding: 60 rows in the two directions",
        "mood: sequences by their tokens",
        "64 to 95: 60",
        "Rows picked at random",
        "fingerprint: models[0].checkpoint",
        "version: torch",
        "no json",
    ):
        assert title in page.text, title
    assert len([tag for tag, values in page.found if tag == "circle"]) == 60
    assert page.text.count("row 7 ") >= 1
    assert "61" not in [value for _, value in page.found]


def test_a_run_with_pools_is_drawn_over_time(finished: Workshop) -> None:
    """Throughput, queues, workers, decisions with reasons, time by stage; half a line is ignored."""
    events(finished)
    page = Tags(written(finished))
    for title in (
        "tokens per second",
        "tokens waiting for each model",
        "workers of each pool, starting ones included",
        "seconds by stage",
        "mood: 1 to 2 workers, 3 units wait",
        "encode mood: 40.0",
        "encode mood: 2.0",
        "42.0",
        "waiting for input",
    ):
        assert title in page.text, title


def test_lengths_of_all_runs_are_counted(finished: Workshop) -> None:
    """A run that ended, one killed after its second event, and one killed before its first count."""

    def looked(*lengths: int) -> dict[str, Any]:
        pools = [{"model": "mood", "queued_tokens": 0, "workers": 1, "starting": 0, "lengths": lengths}]
        return {"time": 1.0, "event": "progress", "tokens": 1, "pools": pools}

    start = {"time": 0.0, "event": "start"}
    stages = [{"stage": "encode", "model": "mood", "lengths": [3, *[0] * 11, 2]}]
    finish = {"time": 9.0, "event": "finish", "stages": stages}
    none = looked(*[0] * 13)
    found = [start, looked(1, *[0] * 12), finish, start, none, looked(4, *[0] * 12), start, looked()]
    path = finished.output / "_job/events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    page = Tags(written(finished)).text
    assert "1 to 7: 7" in page
    assert "512 and more: 2" in page


def test_nothing_of_the_corpus_becomes_an_element(finished: Workshop) -> None:
    """No script, no image, no handler, no address of another host: in texts, labels, names and reasons."""
    events(finished)
    page = written(finished)
    found = Tags(page)
    assert {tag for tag, _ in found.found} & {"script", "img", "iframe", "object", "b0", "embed"} == set()
    assert [name for _, values in found.found for name in values if name.startswith("on")] == []
    links = [values.get(name) for _, values in found.found for name in ("href", "src") if name in values]
    assert links == ["data:,"]
    assert re.findall(r"url\(|@import|https?://", page) == []
    assert ATTACK in found.text
    assert f"neg{ATTACK}" in found.text or f"pos{ATTACK}" in found.text


def test_an_output_that_is_not_finished_has_a_report(workshop: Workshop) -> None:
    """Of the rows so far; also without any row."""
    workshop.numbered(16)
    workshop.run()
    (workshop.output / "_manifest.parquet").unlink()
    assert "not finished" in Tags(written(workshop)).text
    workshop.lines([], "empty/a.jsonl")
    workshop.run(
        input__path=str(workshop.folder / "empty"),
        input__keep=[],
        input__schema={"text": "string"},
        output__path=str(workshop.folder / "none"),
    )
    assert "There are no rows" in Path(report(str(workshop.folder / "none")).html).read_text()


def test_stale_rows_are_not_on_it(workshop: Workshop) -> None:
    """Only current rows are shown."""
    for rows, start in ((16, 0), (8, 500)):
        workshop.numbered(rows, "in/a.jsonl", start=start)
        run(JobConfig.from_dict(workshop.fields()), executor="inline", incremental=True)
    assert '<span class="soft">rows</span><b>8</b>' in written(workshop)


def test_the_command_prints_its_path(workshop: Workshop) -> None:
    """In the output by default; a path that cannot be written is a usage error."""
    workshop.numbered(8)
    workshop.run()
    shown = workshop.cli("report", workshop.output)
    assert shown.exit_code == 0
    assert shown.stdout.startswith(str(workshop.output / "_job/report.html"))
    found = json.loads(workshop.cli("report", workshop.output, "--json").stdout)
    assert Path(found["html"]).stat().st_size == found["bytes"]
    assert workshop.cli("verify", workshop.output).exit_code == 0
    refused = workshop.cli("report", workshop.output, "--html", workshop.folder / "no/such/folder.html")
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr
    assert workshop.cli("report", workshop.folder).exit_code == 1


def test_a_run_writes_a_report_and_does_not_fail_without_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside its other records; an error while writing it is a warning."""
    workshop.numbered(8)
    job = workshop.job()
    assert workshop.cli("run", job).exit_code == 0
    path = workshop.output / "_job/report.html"
    assert "vector" not in Tags(path.read_text()).text
    assert "embedding: 8 rows" in Tags(path.read_text()).text
    path.unlink()
    path.mkdir()
    (path / "x").touch()
    again = workshop.cli("run", job)
    assert again.exit_code == 0
    assert "warning: no report was written" in again.stderr


@pytest.mark.slow
def test_a_browser_draws_it_without_messages(finished: Workshop, browser: str) -> None:
    """No message on the console, all charts drawn, no script of the corpus run; light and dark differ."""
    events(finished)
    written(finished)
    path = finished.folder / "report.html"
    page = opened(path)
    assert page.console == []
    assert "<title>test · corpusmill</title>" in page.dom
    assert page.dom.count('<svg class="chart"') == written(finished).count('<svg class="chart"') >= 10
    light, dark = finished.folder / "light.png", finished.folder / "dark.png"
    pictured(path, light)
    pictured(path, dark, dark=True)
    assert light.read_bytes() != dark.read_bytes()
    assert _brightness(light) > 200
    assert _brightness(dark) < 80


@pytest.mark.slow
def test_the_browser_check_finds_faults(tmp_path: Path, browser: str) -> None:
    """The check itself: a page with a script that fails, and one that is taken over."""
    bad = tmp_path / "bad.html"
    bad.write_text(f"<title>x</title><p>{ATTACK}</p><script>nothing.at.all()</script>")
    page = opened(bad)
    assert "<title>taken</title>" in page.dom
    assert any("nothing is not defined" in line for line in page.console)


def _brightness(picture: Path) -> float:
    """The mean of a PNG's first pixel, 0 to 255: nothing comes before it to differ from."""
    content = picture.read_bytes()
    data, at = b"", 8
    while at < len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        data += content[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return sum(zlib.decompressobj().decompress(data, 4)[1:]) / 3
