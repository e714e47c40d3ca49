"""From result columns to files that are committed exactly once."""
