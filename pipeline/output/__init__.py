"""From columns to files that are committed exactly once."""
