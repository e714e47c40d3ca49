"""Functions from a classifier's logits to its scores, and the one that a job or a checkpoint chooses."""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from corpusmill.models import Checkpoint
from corpusmill.pipeline.errors import OptionError

SCORE_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda logits_NL: logits_NL,
    "sigmoid": lambda logits_NL: logits_NL.sigmoid(),
    "softmax": lambda logits_NL: logits_NL.softmax(-1),
    "log_sigmoid": F.logsigmoid,
    "log_softmax": lambda logits_NL: logits_NL.log_softmax(-1),
    "relu": F.relu,
    "tanh": lambda logits_NL: logits_NL.tanh(),
}
"""The first three are values of `function_to_apply`; a cross-encoder may state any of them."""
OVER_LABELS = ("softmax", "log_softmax")


def classification_function(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the job's function, else the stated one, else that of transformers' pipeline.

    The pipeline applies none for regression, a sigmoid to each score of a multi-label checkpoint and to a
    single score, and a softmax otherwise.
    """
    return _chosen(checkpoint, given) or _of_pipeline(checkpoint)


def reranking_function(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the job's function, else the stated one, else none."""
    return _chosen(checkpoint, given) or "none"


def score_notes(checkpoint: Checkpoint, task: str | None, given: str | None = None) -> tuple[str, ...]:
    """Return the notes about the scores of a task, if the job does not choose the function."""
    stated = checkpoint.score_activation
    if given is not None or task not in ("text-classification", "reranking"):
        return ()
    if stated is None:
        note = "scores are raw: the checkpoint states no activation; sentence-transformers applies a sigmoid"
        return (f"{note} (function_to_apply)",) if task == "reranking" else ()
    if stated.function is None:
        return (_unknown(checkpoint),)
    if task == "reranking" or stated.function == _of_pipeline(checkpoint):
        return ()
    return (
        f"{stated.stated_in} is {stated.path}, so scores are those of sentence-transformers; transformers' "
        f"pipeline would apply {_of_pipeline(checkpoint)} (function_to_apply)",
    )


def _chosen(checkpoint: Checkpoint, given: str | None) -> str | None:
    stated = checkpoint.score_activation
    if given is None and stated is not None and stated.function is None:
        raise OptionError(_unknown(checkpoint)).at("function_to_apply")
    chosen = given if given is not None or stated is None else stated.function
    if chosen in OVER_LABELS and len(checkpoint.labels) == 1:
        raise OptionError(
            f"expected none or sigmoid for a checkpoint with one output, got {chosen}, which is the same for "
            "every score; set function_to_apply"
        ).at("function_to_apply")
    return chosen


def _unknown(checkpoint: Checkpoint) -> str:
    stated = checkpoint.score_activation
    assert stated is not None
    return (
        f"{checkpoint.path}/{stated.stated_in}: expected one of {', '.join(stated.KNOWN)}; got "
        f"{stated.path!r}, which this version does not run; set function_to_apply to none, sigmoid or softmax"
    )


def _of_pipeline(checkpoint: Checkpoint) -> str:
    if checkpoint.problem_type == "regression":
        return "none"
    # The softmax of a single logit, such as a reranker's, would always be 1.
    each = checkpoint.problem_type == "multi_label_classification" or len(checkpoint.labels) == 1
    return "sigmoid" if each else "softmax"
