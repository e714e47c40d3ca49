"""What a person meets first: help with examples, completion in the shell, colours only where wanted."""

import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import click
import pytest
import typer.main
from typer.testing import CliRunner
from workshop import Workshop

from corpusmill.jobs.cli.app import app

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


def texts(command: click.Command) -> Iterator[str]:
    """The help texts of a command and of its options, as its source has them."""
    callback = command.callback
    yield inspect.cleandoc(command.help if callback is None else callback.__doc__ or "")
    for hint in get_type_hints(callback, include_extras=True).values() if callback else ():
        yield from (info.help for info in getattr(hint, "__metadata__", ()) if getattr(info, "help", None))


@pytest.mark.parametrize("path", [(), ("schedule",), *ALL], ids=lambda path: " ".join(path) or "(none)")
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_as_it_is_written(path: tuple[str, ...], option: str) -> None:
    """Every help text is there word for word, brackets included; `-h` is `--help`."""
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    shown = CliRunner().invoke(app, [*path, option], env={"COLUMNS": "400", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    words = " ".join(shown.stdout.split())
    assert [text for text in texts(command) if " ".join(text.split()) not in words] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_is(path: tuple[str, ...]) -> None:
    """No option or argument without a help text."""
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert [part.name for part in command.params if not getattr(part, "help", None)] == []


def test_brackets_of_a_metavar_are_whole() -> None:
    """Rich's markup took them for a style."""
    shown = CliRunner().invoke(app, ["plan", "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert "[MODEL=]N" in shown.stdout


def test_a_message_keeps_the_brackets_of_a_name(workshop: Workshop) -> None:
    """A file called like a style of rich, in an error and in a usage error."""
    result = workshop.cli("plan", "[red]job[/red].yaml")
    assert result.stderr == "error: [red]job[/red].yaml: no such job file\n"
    result = CliRunner().invoke(app, ["run", "job.yaml", "--executor", "[bold]"], env={"COLUMNS": "300"})
    assert "got '[bold]'" in result.stderr


def test_version_is_the_installed_one() -> None:
    """One line, and no command is needed."""
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout == f"corpusmill {importlib.metadata.version('corpusmill')}\n"


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
