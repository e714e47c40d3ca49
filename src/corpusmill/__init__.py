"""Compact encoders over Parquet and JSONL corpora on Ray: every row exactly once.

`models`, `pipeline` and `jobs` beside this file are links to the folders at the repository's root.
"""

__version__ = "0.2.0"
