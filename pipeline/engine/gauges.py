"""How the pools stand, as metrics of Ray's own Prometheus exporter: `ray_corpusmill_...`, by model."""

from ray.util.metrics import Counter, Gauge

from corpusmill.pipeline.engine.outcomes import EngineState


class Gauges:
    """Shows each state that it is given; Ray sends the last one to its exporter every few seconds."""

    def __init__(self) -> None:
        by = ("model",)
        self._queued = Gauge("corpusmill_queued_tokens", "Tokens that wait for the model.", by)
        self._workers = Gauge("corpusmill_workers", "Workers that hold the model.", by)
        self._starting = Gauge("corpusmill_starting_workers", "Workers that are loading it.", by)
        self._tokens = Counter("corpusmill_encoded_tokens", "Tokens that all models have encoded.")
        self._seen = 0

    def shown(self, state: EngineState) -> EngineState:
        """Set the gauges, count what is new, and return the state."""
        for pool in state.pools:
            tags = {"model": pool.model}
            self._queued.set(pool.queued_tokens, tags)
            self._workers.set(pool.workers, tags)
            self._starting.set(pool.starting, tags)
        if state.encoded_tokens > self._seen:
            self._tokens.inc(state.encoded_tokens - self._seen)
            self._seen = state.encoded_tokens
        return state
