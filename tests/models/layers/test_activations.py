"""The activation table against transformers' ACT2FN."""

import pytest
import torch
from transformers.activations import ACT2FN

from corpusmill.models import ConfigError
from corpusmill.models.layers.activations import ACTIVATIONS, Activation

# With parameters of their own, which no encoder here has; and torch's own, which ACT2FN lacks.
PARAMETRIC = {"prelu", "xielu"}
TORCH_ONLY = {"elu": torch.nn.ELU(), "selu": torch.nn.SELU()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_same_function_as_transformers(name: str) -> None:
    """Over the range that pre-activations have."""
    x = torch.linspace(-12, 12, 4001)
    wanted = TORCH_ONLY[name](x) if name in TORCH_ONLY else ACT2FN[name](x)
    torch.testing.assert_close(Activation(name)(x), wanted, rtol=0, atol=2e-6)


def test_the_table_has_all_of_transformers_names() -> None:
    """So that any hidden_act of a config is known, or has parameters."""
    assert set(ACT2FN) - PARAMETRIC == set(ACTIVATIONS) - set(TORCH_ONLY)


@pytest.mark.parametrize("name", ["geluu", None, 3])
def test_an_unknown_name_lists_the_known(name: object) -> None:
    """With the name that came."""
    with pytest.raises(ConfigError, match=rf"expected one of elu, gelu, .*tanh; got {name!r}"):
        Activation(name)  # type: ignore[arg-type]
