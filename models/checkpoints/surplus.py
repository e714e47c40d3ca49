"""Tensors that no model reads: known ones that only training uses, and hints about others."""

import re

TRAINING_ONLY = (
    (
        r"fit_dense(s\.\d+)?\.(weight|bias)",
        "only TinyBERT's distillation uses them, to compare hidden states with a wider teacher's",
    ),
    (
        r"(loss|loss_fct|loss_fn|loss_func|loss_function|loss_layer|criterion|ce_loss|bce_loss)"
        r"\.(weight|pos_weight|alpha)",
        "only the loss of training uses them, to weight the labels",
    ),
    (
        r"(class|label|loss|pos|ce)_weights?",
        "only the loss of training uses them, to weight the labels",
    ),
    (
        r"(log_vars|log_sigmas?|task_weights)",
        "only the loss of training uses them, to weight its tasks",
    ),
    (
        r"(loss_fct\.)?logit_scale",
        "only a contrastive loss uses it, to scale its scores",
    ),
    (
        r"(.+\.)?embeddings\.(position_ids|token_type_ids)",
        "saved numbers of positions or token types, which every model computes",
    ),
)
"""Patterns of whole names, without the family's prefix, and the reason why inference does not read them.

Names of layers, such as `linear` or `dropout`, are not here: a head may have them.
"""

HINTS = (
    (r"linear\.(weight|bias)", "ColBERT's projection of token vectors has this name"),
    (r"crf\..+", "a CRF chooses the labels of a sentence together; without it the labels are others"),
    (r".*lora_[AB]\..+", "an adapter of PEFT changes the weights; merge it with merge_and_unload() first"),
    (r".*adapters?\..+", "an adapter changes the hidden states"),
    (r".*(mask_scores|weight_mask|bias_mask)", "a mask of pruning changes the weights; apply it first"),
)


def training_only(name: str) -> str | None:
    """Return the reason why only training reads a tensor; None for any other tensor."""
    return next((reason for pattern, reason in TRAINING_ONLY if re.fullmatch(pattern, name)), None)


def hint(name: str) -> str:
    """Return what a surplus tensor may be, for the end of a message."""
    return next((f" ({text})" for pattern, text in HINTS if re.fullmatch(pattern, name)), "")
