"""The whole record path in one process, without Ray: for small corpora, for tests, for reading."""

from collections.abc import Iterator, Sequence

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.commit import commit
from corpusmill.pipeline.encode import Encoder
from corpusmill.pipeline.engine.outcomes import EngineState, Outcome, PoolState, UnitFailure
from corpusmill.pipeline.engine.stages import read, tokenized
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.planning import Pending
from corpusmill.pipeline.receipts import Receipt
from corpusmill.pipeline.spec import PipelineSpec


class InlineEngine:
    """Runs unit after unit, each through every model."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._encoded = 0

    def run(self, pending: Sequence[Pending]) -> Iterator[Outcome]:
        """Read, tokenize, encode, commit: this loop is the record path."""
        encoders = [Encoder(model) for model in self._spec.models]
        for split in pending:
            for block in read(split, self._spec.input):
                ready = tokenized(block, self._spec.tokenization)
                yield (
                    UnitFailure(ready.unit.name, ready.error)
                    if ready.error
                    else self._finish(ready, encoders)
                )

    def state(self) -> EngineState:
        """Return the tokens done; nothing queues here."""
        return EngineState(tuple(PoolState(m.title, 0, 1, 0) for m in self._spec.models), self._encoded)

    def _finish(self, block: UnitBlock, encoders: Sequence[Encoder]) -> Receipt | UnitFailure:
        try:
            results = [encoder.encode(block) for encoder in encoders]
            tokens = sum(result.tokens for result in results)
            self._encoded += tokens
            return commit(block, [result.columns for result in results], self._spec.output, tokens=tokens)
        except CorpusmillError as error:
            return UnitFailure(block.unit.name, str(error))
        except Exception as error:  # a unit that one model cannot take must not cost the others
            return UnitFailure(block.unit.name, f"{type(error).__name__}: {error}")
