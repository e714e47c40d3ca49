"""What decides in the simulation: our policy, a fixed pool, and Ray Data's default as its source has it."""

import math

from support.simulation import World

from corpusmill.pipeline.autoscaling.meters import FlowMeter, StartMeter
from corpusmill.pipeline.autoscaling.snapshot import PolicyMemory, PoolSnapshot
from corpusmill.pipeline.autoscaling.together import SHRINK_SECONDS, WorkerCost, decide_all


class Fixed:
    """All workers from the first second to the last; models share the capacity by what a token costs them."""

    every = 1e9

    def step(self, world: World, now: float) -> None:
        """Start everything."""
        models = world.trace.models
        costs = [1 / model.rate for model in models]
        for i, model in enumerate(models):
            share = max(1, round(world.trace.capacity * costs[i] / sum(costs)))
            world.start(i, min(model.max_workers, share), now)


class Ours:
    """The policy with the meters that the engine uses."""

    every = 1.0

    def __init__(self, world: World) -> None:
        count = len(world.pools)
        self._memory = [PolicyMemory(pool.model.min_workers) for pool in world.pools]
        self._start = [StartMeter() for _ in range(count)]
        self._flow = FlowMeter(world.trace.drain_seconds or SHRINK_SECONDS, 0.0)
        self._blocked = 0.0
        self.reasons: list[tuple[float, int, int, str]] = []

    def step(self, world: World, now: float) -> None:
        """Decide for every pool, share out the cluster, act."""
        self._measure(world, now)
        settled = decide_all(
            [WorkerCost("cpu", 1.0)] * len(world.pools),
            [self._snapshot(world, i, now) for i in range(len(world.pools))],
            self._memory,
            room={"cpu": world.trace.capacity},
            now=now,
            drain_seconds=world.trace.drain_seconds,
        )
        for i, found in enumerate(settled):
            target = found.target
            if target != self._memory[i].target:
                self.reasons.append((now, i, target, found.decision.reason))
            self._memory[i] = found.memory
            size = world.pools[i].size
            if target > size:
                world.start(i, target - size, now)
            elif target < size:
                world.stop(i, size - target, now)

    def _measure(self, world: World, now: float) -> None:
        for i, pool in enumerate(world.pools):
            pool.done.clear()
            for seconds in pool.starts:
                self._start[i].note(seconds)
            pool.starts.clear()
        blocked = world.blocked_seconds + (now - world.blocked_since if world.blocked_since else 0.0)
        for at, tokens in world.arrived:
            self._flow.note(at, tokens)
        world.arrived.clear()
        self._flow.pass_time(now, blocked - self._blocked)
        self._blocked = blocked

    def _snapshot(self, world: World, index: int, now: float) -> PoolSnapshot:
        pool = world.pools[index]
        own = world.trace.drain_seconds is None
        return PoolSnapshot(
            queued_tokens=pool.queue.tokens,
            in_flight_tokens=pool.in_flight,
            units=len(pool.queue) + pool.in_flight_units,
            running=pool.ready - pool.draining,
            starting=len(pool.workers) - pool.ready,
            rate=pool.rate or (world.fastest_possible(index, now) if own else None),
            startup_seconds=self._start[index].seconds,
            min_workers=pool.model.min_workers,
            max_workers=pool.model.max_workers,
            arrival_rate=self._flow.arrival_rate,
            feed_rate=self._flow.feed_rate,
            backlog_tokens=world.total_tokens - world.delivered_tokens,
            finished=world.finished,
        )


class RayDefault:
    """Ray Data 2.60's default (`BACKLOG_AWARE`), as `ray/data/_internal/actor_autoscaler` decides.

    A step of its scheduling loop at most every 0.1 s. Utilization is tasks in flight (at most two a ready
    actor) by actors, pending ones included. From 1.75 on the pool grows so that all tasks, queued ones
    included, would be 1.75 an actor; at 0.5 and below it shrinks by one actor a step, none while one is
    pending nor within 10 s of growing; with all inputs consumed by one a step at once. Only pending or idle
    actors are let go. Of what several operators share, half is reserved in equal parts, half is free to all.
    """

    every = 0.1
    up, down, debounce = 1.75, 0.5, 10.0

    def __init__(self, world: World) -> None:
        self._last_up: list[float | None] = [None] * len(world.pools)
        self._initial = True

    def step(self, world: World, now: float) -> None:
        """One step of the loop for each pool."""
        if self._initial:
            self._initial = False
            for i, pool in enumerate(world.pools):
                world.start(i, pool.model.min_workers, now)
            return
        for i in range(len(world.pools)):
            self._scale(world, i, now)

    def _scale(self, world: World, index: int, now: float) -> None:
        pool = world.pools[index]
        size, pending = len(pool.workers), len(pool.workers) - pool.ready
        if world.finished and not pool.queue:
            world.stop(index, 1, now, idle_only=True)
            return
        if size < pool.model.min_workers:
            world.start(index, pool.model.min_workers - size, now)
            return
        if not world.delivered:
            return
        utilization = pool.in_flight_units / size if size else math.inf
        if utilization >= self.up:
            total = pool.in_flight_units + len(pool.queue)
            room = min(self._budget(world, index), pool.model.max_workers - size)
            delta = min(max(1, math.ceil(total / self.up) - size), room)
            if delta > 0:
                world.start(index, delta, now)
                self._last_up[index] = now
        elif utilization <= self.down and not pending and size > pool.model.min_workers:
            last = self._last_up[index]
            if last is None or now > last + self.debounce:
                world.stop(index, 1, now, idle_only=True)

    def _budget(self, world: World, index: int) -> int:
        capacity, count = world.trace.capacity, len(world.pools)
        if count == 1:
            return capacity - world.used()
        reserved = capacity / 2 / count
        sizes = [len(pool.workers) for pool in world.pools]
        shared = capacity / 2 - sum(max(size - reserved, 0) for size in sizes)
        own = max(reserved - sizes[index], 0)
        return min(int(own + max(shared, 0) / count), capacity - world.used())
