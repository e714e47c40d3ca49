"""The prompt before each text: that of the job, or the checkpoint's default of sentence-transformers.

sentence-transformers reads a default prompt for the kind of model that the folder's modules make: one of
vectors, of sparse vectors, or a cross-encoder, where it precedes the first text of a pair.
"""

import json
from pathlib import Path

from corpusmill.models import Checkpoint
from corpusmill.pipeline.errors import OptionError

UNSET = ("query", "document")
"""Names of prompts that every model has: empty ones, if the folder sets none."""


def prompt_of(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the prompt of a job's texts; `given` None means the checkpoint's default, if any."""
    own = checkpoint.sentence_modules
    theirs = own is not None and own.task == checkpoint.task
    prompt = given if given is not None else _default(checkpoint.path) if theirs else ""
    if prompt and theirs and own is not None and not own.include_prompt:
        raise OptionError(
            f"{checkpoint.path}: its pooling leaves out the prompt (include_prompt: false), which "
            'this version does not support; set prompt: "" or choose another checkpoint'
        ).at("prompt")
    return prompt


def _default(folder: Path) -> str:
    settings = _read(folder / "config_sentence_transformers.json")
    name, stated = settings.get("default_prompt_name"), settings.get("prompts")
    prompts = stated if isinstance(stated, dict) else {}
    if name is None:
        return ""
    if name in UNSET:
        return str(prompts.get(name) or "")
    if name not in prompts:
        raise OptionError(
            f"{folder}: expected default_prompt_name to be one of its prompts {list(prompts)}, got {name!r}; "
            "set prompt"
        ).at("prompt")
    return str(prompts[name])


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
