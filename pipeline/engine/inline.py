"""The whole record path in one process, without Ray: for small corpora, for tests, for reading."""

from collections.abc import Generator, Sequence

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.commit import commit
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.engine.outcomes import EngineState, Outcome, PoolState, UnitFailure
from corpusmill.pipeline.engine.stages import read, tokenized
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.refused import Part, join_parts, set_aside
from corpusmill.pipeline.spec import PipelineSpec
from corpusmill.pipeline.units import Split


class InlineEngine:
    """Runs unit after unit, each through every model."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._encoded = 0

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Read, tokenize, encode, commit: this loop is the record path."""
        encoders = [Encoder(model) for model in self._spec.models]
        for split in pending:
            for block in read(split, self._spec.input):
                ready = tokenized(block, self._spec.tokenization)
                yield (
                    UnitFailure(ready.unit.name, ready.error)
                    if ready.error
                    else self._finish(ready, encoders, split.split)
                )

    def state(self) -> EngineState:
        """Return the tokens done; nothing queues here."""
        return EngineState(tuple(PoolState(m.title, 0, 1, 0) for m in self._spec.models), self._encoded)

    def _finish(self, block: UnitBlock, encoders: Sequence[Encoder], split: Split) -> Receipt | UnitFailure:
        try:
            results = [encoder.encode(block) for encoder in encoders]
            tokens = sum(result.tokens for result in results)
            self._encoded += tokens
            refused: dict[int, str] = {}
            for result in reversed(results):
                refused |= result.refused
            columns = [join_parts([Part(0, result.columns)], refused) for result in results]
            block = set_aside(block, refused, split, self._spec.input)
            return commit(block, columns, self._spec.output, tokens=tokens)
        except CorpusmillError as error:
            return UnitFailure(block.unit.name, str(error))
        except Exception as error:  # a unit that one model cannot take must not cost the others
            return UnitFailure(block.unit.name, f"{type(error).__name__}: {error}")
