"""What a person meets first: help with examples, completion in the shell, colours only where wanted."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner
from workshop import Workshop

from corpusmill.jobs.cli import app

COMMAND = str(Path(sys.executable).with_name("corpusmill"))


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands."""
    if isinstance(group, click.Group) or hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield path


ALL = list(commands(typer.main.get_command(app)))


def test_there_are_commands_to_look_at() -> None:
    """Groups and what is in them."""
    assert {("run",), ("submit",), ("status",), ("schedule", "add"), ("report",), ("prune",)} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    """With the command's own options: each that the example names is one."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    (example,) = re.findall(r"Example: (corpusmill .*)", shown.stdout)
    words = example.split()
    assert tuple(words[1 : 1 + len(path)]) == path
    for option in re.findall(r"(?<= )--[a-z-]+", example):
        assert option in shown.stdout.replace(example, ""), option


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    """The script that --show-completion prints, and what it would offer."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = subprocess.run(
        [COMMAND, "--show-completion", shell], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "_CORPUSMILL_COMPLETE" in shown.stdout
    asking = {
        "_CORPUSMILL_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "corpusmill sch",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "corpusmill sch",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    offered = subprocess.run(
        [COMMAND], env={**os.environ, **asking}, capture_output=True, text=True, check=False
    )
    assert "schedule" in offered.stdout


def test_no_color_is_heeded(workshop: Workshop) -> None:
    """No escape sequence, also where a terminal is claimed; with colours there are some."""
    plain = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "", "TERM": "xterm-256color"}
    plain.pop("FORCE_COLOR")
    shown = subprocess.run([COMMAND, "--help"], env=plain, capture_output=True, text=True, check=True)
    assert "\x1b[3" not in shown.stdout
    forced = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    forced.pop("NO_COLOR", None)
    colored = subprocess.run([COMMAND, "--help"], env=forced, capture_output=True, text=True, check=True)
    assert "\x1b[" in colored.stdout
