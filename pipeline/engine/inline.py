"""The whole record path in one process, without Ray: for small corpora, for tests, for reading."""

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoded import Encoded
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.engine.feeder import Intake
from corpusmill.pipeline.engine.messages import EngineState, Outcome, PoolState, UnitFailure, WorkerNote
from corpusmill.pipeline.engine.stage_times import EncodeClock, StageTimes, UnitClock
from corpusmill.pipeline.engine.stages import read, tokenize_block
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.output.rejects import ResultPart, join_result_parts, reject_rows
from corpusmill.pipeline.spec import ModelSpec, PipelineSpec


class InlineEngine:
    """An engine that runs one unit after another, each through every model."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._spec = spec
        self._encoded = 0
        self._clock = UnitClock()
        self._clocks = [EncodeClock(model.title) for model in spec.models]
        self._intake = Intake(0)

    def run(self, pending: Sequence[Pending]) -> Generator[Outcome, None, None]:
        """Read, tokenize, encode, commit: this loop is the record path."""
        began = time.monotonic()
        self._intake = Intake(sum(each.rows for each in pending))
        encoders = [self._load_encoder(*each) for each in zip(self._spec.models, self._clocks, strict=True)]
        for model, encoder in zip(self._spec.models, encoders, strict=True):
            if encoder.note is not None:
                yield WorkerNote(model.title, os.getpid(), encoder.note)
        for split in pending:
            for block in read(split, self._spec.input):
                ready = tokenize_block(block, self._spec.tokenization)
                summary = ready.summary()
                self._clock.unit_arrived(
                    summary.seconds, sum(summary.tokens.values()), time.monotonic() - began
                )
                self._intake.note(summary.rows + summary.rejected, summary.tokens)
                yield (
                    UnitFailure(ready.unit.name, ready.error)
                    if ready.error
                    else self._finish(ready, encoders, split.split)
                )
                yield None
        self._intake.finished = True

    def state(self) -> EngineState:
        """Return the tokens done; nothing queues in this engine."""
        pools = tuple(self._pool_state(*each) for each in zip(self._spec.models, self._clocks, strict=True))
        return EngineState(pools, self._encoded, self._intake.rows)

    def _pool_state(self, model: ModelSpec, clock: EncodeClock) -> PoolState:
        key = model.tokenizer.key
        left = (
            round(self._intake.backlog_tokens(key)) if self._intake.expected_tokens(key) is not None else None
        )
        done = self._intake.arrived_tokens(key)
        return PoolState(
            clock.model,
            0,
            1,
            0,
            tokens=clock.tokens,
            done_tokens=done,
            left_tokens=left,
            lengths=clock.lengths,
            rows=clock.rows,
            truncated_rows=clock.truncated_rows,
        )

    def times(self) -> tuple[StageTimes, ...]:
        """Return the times of every stage; no stage waits for another, as they run in turn."""
        return self._clock.times([clock.times() for clock in self._clocks], 0.0)

    @property
    def worker_seconds(self) -> float:
        """The seconds of loading and encoding."""
        return sum(clock.seconds for clock in self._clocks)

    def _load_encoder(self, model: ModelSpec, clock: EncodeClock) -> Encoder:
        began = time.monotonic()
        encoder = Encoder(model)
        clock.started(time.monotonic() - began, encoder.product_rate())
        return encoder

    def _encode(self, encoder: Encoder, clock: EncodeClock, block: UnitBlock) -> Encoded:
        began = time.monotonic()
        encoded = encoder.encode(block)
        clock.worked(replace(encoded.stats, seconds=time.monotonic() - began))
        clock.unit_done()
        return encoded

    def _finish(self, block: UnitBlock, encoders: Sequence[Encoder], split: Split) -> Receipt | UnitFailure:
        try:
            results = [self._encode(*each, block) for each in zip(encoders, self._clocks, strict=True)]
            tokens = sum(result.stats.tokens for result in results)
            self._encoded += tokens
            refused: dict[int, str] = {}
            for result in reversed(results):
                refused |= result.stats.refused
            columns = [join_result_parts([ResultPart(0, result.columns)], refused) for result in results]
            block = reject_rows(block, refused, split, self._spec.input)
            began = time.monotonic()
            receipt = commit(block, columns, self._spec.output, tokens=tokens)
        except CorpusmillError as error:
            return UnitFailure(block.unit.name, str(error))
        except Exception as error:  # one failed unit must not end the others
            return UnitFailure(block.unit.name, f"{type(error).__name__}: {error}")
        self._clock.add("commit", time.monotonic() - began)
        return receipt
