"""The prompt before each text: that of the job, or the checkpoint's default of sentence-transformers."""

import json
from pathlib import Path

from corpusmill.models import Checkpoint
from corpusmill.pipeline.errors import OptionError


def prompt_of(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the prompt of a job's embeddings; `given` None means the checkpoint's default, if any."""
    prompt = _default(checkpoint.path) if given is None else given
    if prompt and not _pooled(checkpoint.path):
        raise OptionError(
            f"{checkpoint.path}: its pooling leaves out the prompt (include_prompt: false), which "
            'this version does not support; set prompt: "" or choose another checkpoint'
        ).at("prompt")
    return prompt


def _default(folder: Path) -> str:
    settings = _read(folder / "config_sentence_transformers.json")
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts")
    if name is None or not isinstance(prompts, dict):
        return ""
    if name not in prompts:
        raise OptionError(
            f"{folder}: expected default_prompt_name to be one of its prompts {list(prompts)}, got {name!r}; "
            "set prompt"
        ).at("prompt")
    return str(prompts[name])


def _pooled(folder: Path) -> bool:
    """Return whether the pooling includes the tokens of the prompt."""
    poolings = folder.glob("*_Pooling/config.json")
    return all(_read(path).get("include_prompt", True) for path in poolings)


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
