"""A job's own output where it lies among the inputs: nothing below it is ever read as input."""

import os
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from corpusmill.pipeline.storage import is_local, locate

RUN_DATE = "{run_date}"
"""In an output's path: the date of the run."""
_DAY = r"\d{4}-\d\d-\d\d"


def dated_pattern(path: str) -> str:
    """Return a regular expression of a path with any date where the placeholder is, or of the path alone."""
    return _DAY.join(map(re.escape, path.split(RUN_DATE)))


@dataclass(frozen=True)
class OwnOutput:
    """The folder, or the folders of all dates, that a job writes.

    On this machine's disks the real paths count, whatever links lead to them; on stores the names of objects.
    """

    url: str
    _filesystem: type
    _pattern: re.Pattern[str]
    _real_folders: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, url: str) -> "OwnOutput":
        """Return the output that a job's `output.path` names, with or without a date's placeholder."""
        fs, path = locate(url)
        spellings = {path, os.path.realpath(path)} if is_local(fs) else {path}
        folders = "|".join(dated_pattern(spelling.rstrip("/")) for spelling in sorted(spellings))
        return cls(url, type(fs), re.compile(f"(?:{folders})(?:/|$)"))

    def holds(self, fs: Any, path: str, *, is_link: bool = False) -> bool:
        """Say whether a path is the output folder or below it; `is_link`: its last part may be a link."""
        if type(fs) is not self._filesystem:
            return False
        if self._pattern.match(path):
            return True
        if not is_local(fs):
            return False
        return bool(self._pattern.match(os.path.realpath(path) if is_link else self._real(path)))

    def _real(self, path: str) -> str:
        """Return the real path of what is no link itself; folders are looked up once."""
        folder, name = posixpath.split(path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return posixpath.join(self._real_folders[folder], name)
