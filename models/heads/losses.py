"""Losses against labels, as transformers' heads compute them, in float32.

Shape suffixes: R rows (tokens or sequences), C classes, N sequences, L labels.
"""

import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.errors import InputError


def class_loss(logits_RC: Tensor, labels_R: Tensor, *, name: str = "labels") -> Tensor:
    """Return the mean cross-entropy; rows labelled -100 do not count."""
    expect_shape(name, labels_R, (len(logits_RC),))
    return F.cross_entropy(logits_RC.float(), labels_R)


def sequence_loss(logits_NL: Tensor, labels: Tensor, *, problem_type: str | None) -> Tensor:
    """Return the loss of a sequence classifier, by the checkpoint's problem type.

    Without one, a single label is a regression, whole numbers are classes, and other numbers are several
    labels at once.
    """
    kind = problem_type or _guess(logits_NL, labels)
    if kind == "single_label_classification":
        return class_loss(logits_NL, labels)
    if kind == "regression" and logits_NL.shape[1] == 1:
        labels = labels.reshape(-1, 1)
    expect_shape("labels", labels, tuple(logits_NL.shape))
    if kind == "regression":
        return F.mse_loss(logits_NL.float(), labels.float())
    return F.binary_cross_entropy_with_logits(logits_NL.float(), labels.float())


def expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape."""
    if tuple(tensor.shape) != shape:
        raise InputError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")


def _guess(logits_NL: Tensor, labels: Tensor) -> str:
    if logits_NL.shape[1] == 1:
        return "regression"
    whole = not labels.is_floating_point() and not labels.is_complex()
    return "single_label_classification" if whole else "multi_label_classification"
