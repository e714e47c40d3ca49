"""The job's own output among its inputs: files below the output folder are never read as input."""

import os
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from corpusmill.pipeline.storage import is_local, locate

RUN_DATE = "{run_date}"
"""The placeholder of the run's date in `output.path`."""
_DAY = r"\d{4}-\d\d-\d\d"


def dated_pattern(path: str) -> str:
    """Return a regular expression that matches the path, with any date in place of the placeholder."""
    return _DAY.join(map(re.escape, path.split(RUN_DATE)))


@dataclass(frozen=True)
class OwnOutput:
    """The output folder of a job, or with a placeholder the folders of all dates.

    On local disks real paths are compared, so symbolic links do not matter; on stores the names of objects.
    """

    url: str
    _filesystem: type
    _pattern: re.Pattern[str]
    _real_folders: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, url: str) -> "OwnOutput":
        """Return the output of a job's `output.path`, with or without the placeholder."""
        fs, path = locate(url)
        spellings = {path, os.path.realpath(path)} if is_local(fs) else {path}
        folders = "|".join(dated_pattern(spelling.rstrip("/")) for spelling in sorted(spellings))
        return cls(url, type(fs), re.compile(f"(?:{folders})(?:/|$)"))

    def holds(self, fs: Any, path: str, *, is_link: bool = False) -> bool:
        """Return whether a path is the output folder or below it; `is_link`: its last part may be a link."""
        if type(fs) is not self._filesystem:
            return False
        if self._pattern.match(path):
            return True
        if not is_local(fs):
            return False
        return bool(self._pattern.match(os.path.realpath(path) if is_link else self._real_path(path)))

    def _real_path(self, path: str) -> str:
        """Return the real path of a file that is no link; each folder is resolved once."""
        folder, name = posixpath.split(path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return posixpath.join(self._real_folders[folder], name)
