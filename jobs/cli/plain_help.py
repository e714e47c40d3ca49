"""Typer with plain help texts: brackets are text, not rich's markup, and `-h` is `--help` everywhere."""

from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape, render
from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose help texts are printed as they are written."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        _escape_all(self)


class PlainGroup(TyperGroup):
    """A group of commands whose help texts are printed as they are written."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        _escape_all(self)


class PlainTyper(typer.Typer):
    """A Typer application whose commands are all `PlainCommand`."""

    def __init__(self, **settings: Any) -> None:
        names = {"help_option_names": ["--help", "-h"]}
        super().__init__(cls=PlainGroup, context_settings=names, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a command."""
        return super().command(name, cls=PlainCommand, **settings)


def plain_text(text: str | None) -> str:
    """Return a help text as it stands in the source."""
    return render(text or "").plain


def _escape_all(command: Any) -> None:
    """Escape the help of a command and of its parameters; typer reads it as markup when it prints."""
    for part in (command, *command.params):
        if getattr(part, "help", None):
            part.help = escape(part.help)
