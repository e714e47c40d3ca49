"""The optimizer of the small models: AdamW, a short warm-up, then a cosine down to a hundredth."""

import math

import torch


def optimizer_with_schedule(
    model: torch.nn.Module, *, steps: int, learning_rate: float, weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW and its schedule; weight decay applies to matrices, not to biases and norms."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step / steps))


def _warm_cosine(done: float) -> float:
    return min(1.0, done / 0.06 + 1e-3) * (0.5 * (1 + math.cos(math.pi * min(1.0, done))) + 0.01)
