"""Headless Chromium, where there is one: a page's DOM after it was drawn, what it logged, a picture of it."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Chromium's path; None where it is not installed."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Page:
    """A page as the browser sees it."""

    dom: str
    console: list[str]


def opened(path: Path, *, dark: bool = False) -> Page:
    """Opens a local page without any network."""
    done = _run(["--dump-dom"], path, dark=dark)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Page(done.stdout, console)


def pictured(path: Path, picture: Path, *, dark: bool = False, size: tuple[int, int] = (1360, 2400)) -> None:
    """Writes a PNG of a local page."""
    _run(
        [f"--screenshot={picture}", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars"],
        path,
        dark=dark,
    )


def _run(options: list[str], path: Path, *, dark: bool) -> "subprocess.CompletedProcess[str]":
    with tempfile.TemporaryDirectory() as profile:
        command = [
            chromium() or "",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--v=0",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=2000",
            *(["--blink-settings=preferredColorScheme=0", "--force-dark-mode"] if dark else []),
            *options,
            path.absolute().as_uri(),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
