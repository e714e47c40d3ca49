"""Linear maps on the kernels: a layer of its own, or a step of a longer program.

Shape suffixes: T tokens, I inputs, O outputs, of all groups.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from corpusmill.models.cpu.int8 import worth_quantizing
from corpusmill.models.cpu.native.bindings import GELU, GELU_TANH, NONE, RELU
from corpusmill.models.cpu.native.program import Program
from corpusmill.models.cpu.native.weights import PackedWeight, fits
from corpusmill.models.layers.blocks import ActivatedLinear, GroupedLinear, Linear

# Our activation names -> the kernels', which keep NaN.
ACTIVATIONS = {
    "linear": NONE,
    "relu": RELU,
    "gelu": GELU,
    "gelu_python": GELU,
    "gelu_accurate": GELU_TANH,
    "gelu_fast": GELU_TANH,
    "gelu_new": GELU_TANH,
    "gelu_python_tanh": GELU_TANH,
    "gelu_pytorch_tanh": GELU_TANH,
}


class NativeMap(nn.Module):
    """A linear map, in groups or not, and the activation or the residual after it. Inference only.

    `result` is the dtype of what it returns; rows come in the dtype of the weights, or for 8-bit weights in
    either of the kernels'.
    """

    def __init__(self, groups: Sequence[PackedWeight], activation: int, *, result: torch.dtype) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.activation = activation
        self.result = result
        self.inputs = sum(group.inputs for group in groups)
        self.outputs = sum(group.outputs for group in groups)
        self._programs: dict[tuple[torch.dtype, torch.dtype | None], Program] = {}

    def forward(self, x_TI: Tensor, residual_TO: Tensor | None = None) -> Tensor:
        rows_TI = _in_rows(x_TI)
        y_TO = torch.empty(len(rows_TI), self.outputs, dtype=self.result)
        residual = None if residual_TO is None else residual_TO.dtype
        program = self._programs.get((x_TI.dtype, residual))
        if program is None:
            program = self._programs[x_TI.dtype, residual] = self._program(x_TI.dtype, residual)
        tensors = () if residual_TO is None else (_in_rows(residual_TO),)
        program.run(rows_TI, y_TO, *tensors)
        return y_TO.view(*x_TI.shape[:-1], self.outputs)

    def add_to(
        self, program: Program, source: int, target: int, *, column: int = 0, residual: int | None = None
    ) -> None:
        """Add the steps of the map, from a whole buffer to columns of another."""
        inputs, outputs = 0, column
        for group in self.groups:
            program.linear(
                group, (source, inputs), (target, outputs), activation=self.activation, residual=residual
            )
            inputs, outputs = inputs + group.inputs, outputs + group.outputs

    def _program(self, number: torch.dtype, residual: torch.dtype | None) -> Program:
        program = Program()
        source, target = program.outer(number, self.inputs), program.outer(self.result, self.outputs)
        added = None if residual is None else program.outer(residual, self.outputs)
        self.add_to(program, source, target, residual=added)
        return program


def native_map(
    module: nn.Module, *, int8: bool = False, result: torch.dtype | None = None
) -> NativeMap | None:
    """Return the map on the kernels; None for another module, and for a map that they do not have.

    With `int8` the map has 8 bits, or is None if these are not faster. `result` is the dtype of the results,
    by default that of the weights.
    """
    plain, activation = module, "linear"
    if isinstance(module, ActivatedLinear):
        plain, activation = module.linear, module.activation.name
    linears = groups_of(plain)
    if not linears or activation not in ACTIVATIONS:
        return None
    number = linears[0].weight.dtype
    packed = [_packed(linear, int8=int8) for linear in linears]
    groups = [group for group in packed if group is not None]
    if len(groups) < len(linears):
        return None
    return NativeMap(groups, ACTIVATIONS[activation], result=result or number)


def groups_of(module: nn.Module) -> list[nn.Linear]:
    """Return each group of a linear map as a map; an empty list for another module."""
    if type(module) in (nn.Linear, Linear):
        assert isinstance(module, nn.Linear)
        return [module]
    if not isinstance(module, GroupedLinear):
        return []
    groups = []
    for weight_IO, bias_O in zip(module.weight, module.bias.view(len(module.weight), -1), strict=True):
        inputs, outputs = weight_IO.shape
        group = nn.Linear(inputs, outputs, device="meta")
        group.weight = nn.Parameter(weight_IO.T.contiguous(), requires_grad=False)
        group.bias = nn.Parameter(bias_O, requires_grad=False)
        groups.append(group)
    return groups


def _packed(linear: nn.Linear, *, int8: bool) -> PackedWeight | None:
    weight, bias = linear.weight.detach(), linear.bias
    if int8:
        quantized = worth_quantizing(linear)
        return None if quantized is None else PackedWeight.of_bytes(quantized, bias)
    return PackedWeight.of(weight, bias) if fits(linear, weight.dtype) else None


def _in_rows(x: Tensor) -> Tensor:
    """Return the values as a matrix whose rows have their features side by side."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()
