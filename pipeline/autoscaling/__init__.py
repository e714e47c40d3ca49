"""The number of workers of each pool: pure decisions from a frozen snapshot and a clock that is passed in."""
