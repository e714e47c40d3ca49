"""CUDA graphs of an encoder: recorded once per size, then replayed. Only for a GPU.

All graphs read the same inputs, write the same states and share one pool of memory. A lock keeps two of them
from running at the same time if several threads and streams use the model.
Shape suffixes: T tokens, D width.
"""

import threading

import torch
from torch import Tensor, nn

from corpusmill.models.errors import in_a_line
from corpusmill.models.gpu.padded_encoder import PaddedEncoder, limit_of
from corpusmill.models.gpu.padded_sizes import PaddedSize, padded_size
from corpusmill.models.ops.attention import attend_runs
from corpusmill.models.ops.choose import attention_kernel, takes_empty_sequences
from corpusmill.models.ops.padding import GraphInputs, padded
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest

MOST = 96
"""The most graphs that are kept. A batch of a further size runs padded, without a graph."""
Key = tuple[PaddedSize, int | None]


class Graphs:
    """A runner of padded batches: the first of a size runs as it is, later ones as a recorded graph."""

    def __init__(self, encoder: nn.Module, *, tokens: int, width: int, dtype: torch.dtype) -> None:
        device = torch.device("cuda", torch.cuda.current_device())
        self._encoder = encoder
        self._slots = GraphInputs.of(tokens=tokens, device=device)
        self._states = torch.zeros(tokens, width, dtype=dtype, device=device)
        self._pool = torch.cuda.graph_pool_handle()
        self._recorded: dict[Key, torch.cuda.CUDAGraph] = {}
        self._seen: set[Key] = set()
        self._lock = threading.Lock()
        # One stream for all recordings, because torch keeps freed memory per stream.
        self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._free = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.failure: str | None = None

    def __call__(self, batch: PackedTokens, size: PaddedSize, request: EncoderRequest) -> Tensor:
        """Return the states (T, D) of all tokens; the caller may keep them."""
        key = (size, request.layers)
        with self._lock:
            if key not in self._recorded and not self._record(key, batch, request):
                return self._through(batch, request)
            stream = torch.cuda.current_stream()
            stream.wait_event(self._free)
            self._slots.fill(batch)
            self._recorded[key].replay()
            states_TD = self._states[: size.tokens].clone()
            self._free.record(stream)
            return states_TD

    def _record(self, key: Key, batch: PackedTokens, request: EncoderRequest) -> bool:
        """Record a size that has been seen before; return whether there is a graph now."""
        if key not in self._seen or self.failure is not None or len(self._recorded) >= MOST:
            self._seen.add(key)
            return False
        try:
            self._recorded[key] = self.record(key[0], batch, request)
        except Exception as error:
            self.failure = in_a_line(error)
            return False
        return True

    def record(self, size: PaddedSize, batch: PackedTokens, request: EncoderRequest) -> torch.cuda.CUDAGraph:
        """Record the encoder's pass over a size and return the graph; `batch` is an example of the size."""
        torch.cuda.synchronize()
        self._slots.fill(batch)
        # The first pass, not recorded, compiles kernels and allocates workspaces.
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            self._through(self._slots.batch(size), request)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"):
            self._states[: size.tokens].copy_(self._through(self._slots.batch(size), request))
        torch.cuda.synchronize()
        return graph

    def _through(self, batch: PackedTokens, request: EncoderRequest) -> Tensor:
        encoded: EncoderOutput = self._encoder(batch, request)
        return encoded.last_hidden_state


def with_graphs(
    encoder: nn.Module, *, positions: int, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, str]:
    """Return the encoder, with graphs for small batches if they can be recorded, and the reason."""
    if device.type != "cuda":
        return encoder, f"graphs: none (on {device.type})"
    if attention_kernel(device.type, dtype)[0] is attend_runs:
        return encoder, f"graphs: none (attention of {dtype} needs lengths on the host)"
    limit = limit_of(encoder, dtype=dtype)
    if not limit:
        return encoder, "graphs: none (no batch of this model is limited by the host)"
    wrong = takes_empty_sequences(dtype, device)
    if wrong is not None:
        return encoder, f"graphs: none (the attention kernel does not take empty sequences: {wrong})"
    try:
        graphs = _trial(encoder, positions=positions, tokens=limit, width=width, dtype=dtype)
    except Exception as error:
        return encoder, f"graphs: none (recording failed: {in_a_line(error)})"
    padded_encoder = PaddedEncoder(encoder, positions=positions, limit=limit, runner=graphs)
    return padded_encoder, f"graphs: batches of up to {limit} tokens, padded to eight sizes per power of two"


@torch.inference_mode()
def _trial(encoder: nn.Module, *, positions: int, tokens: int, width: int, dtype: torch.dtype) -> Graphs:
    """Return graphs after recording the smallest size."""
    graphs = Graphs(encoder, tokens=tokens, width=width, dtype=dtype)
    batch = PackedTokens.from_sequences([[0] * min(5, positions), [0]]).to("cuda")
    size = padded_size(
        tokens=len(batch.input_ids), sequences=len(batch), longest=min(5, positions), positions=positions
    )
    graphs.record(size, padded(batch, size), EncoderRequest())
    return graphs
