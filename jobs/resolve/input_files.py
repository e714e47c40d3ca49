"""A job's input files, and notes for its user about the listing."""

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from corpusmill.jobs.config.schema import InputConfig
from corpusmill.jobs.resolve.checks import Checks
from corpusmill.jobs.resolve.dtype import FINGERPRINT
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.input.listing import InputFiles, list_files
from corpusmill.pipeline.input.own_output import OwnOutput
from corpusmill.pipeline.input.planning import format_of
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.storage import StoredFile, absolute


@dataclass(frozen=True)
class ListedInputs:
    """A job's input files, and notes for its user."""

    files: list[StoredFile]
    notes: list[str] = field(default_factory=list)


def list_inputs(config: InputConfig, output: OwnOutput | None, checks: Checks) -> ListedInputs:
    """List the files of all paths that can be listed, in sorted order, each file once.

    Files of the job's own output are left out. Each path that cannot be listed is one problem.
    """
    files_by_url: dict[str, StoredFile] = {}
    own: set[str] = set()
    for i, path in enumerate(config.path):
        where = f"input.path[{i}]" if len(config.path) > 1 else "input.path"
        listed = checks.run(where, partial(_listed, path, config.format, output), needs=("input.format",))
        if listed is not None:
            files_by_url |= {file.url: file for file in listed.files}
            own |= listed.own
    files = [files_by_url[url] for url in sorted(files_by_url)]
    notes = list(_other_outputs(config.path, files)) if files else []
    if own and output is not None:
        notes.insert(
            0,
            f"{len(own)} file(s) below output.path ({output.url}) are left out of the input: they are "
            "this job's own output",
        )
    return ListedInputs(files, notes)


def _listed(path: str, format_name: str, output: OwnOutput | None) -> InputFiles:
    listed = list_files([path], any_name=format_name != "auto", output=output)
    for file in listed.files:
        format_of(file, format_name)
    return listed


def _other_outputs(paths: Sequence[str], files: Sequence[StoredFile]) -> Iterator[str]:
    """Yield notes about outputs of other jobs among the inputs: they are read, as this may be intended."""
    input_paths = [absolute(path) for path in paths]
    folders = Counter(posixpath.dirname(file.url) for file in files)
    outputs: Counter[str] = Counter()
    for folder, count in folders.items():
        output, name = posixpath.split(folder)
        if name in ("data", "rejects"):
            outputs[output] += count
    for output, count in sorted(outputs.items()):
        named = any(path == output or path.startswith(output + "/") for path in input_paths)
        if not named and _is_output(output):
            yield (
                f"{count} input file(s) are the output of another job, {output}; if they should not be read, "
                "narrow input.path or move that output"
            )


def _is_output(url: str) -> bool:
    folder = OutputFolder.of(url, "arrow")
    try:
        return folder.exists(folder.job(FINGERPRINT))
    except CorpusmillError:
        return False  # a store without permission to look: the folder is read like any other
