"""Which devices this machine has."""

import torch


def on_this_machine(device: str) -> bool:
    """Say whether a model can be held on such a device here."""
    return device == "cpu" or torch.cuda.is_available()
