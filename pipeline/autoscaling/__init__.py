"""How many workers a pool should have: pure decisions from a frozen snapshot and a clock passed in."""
