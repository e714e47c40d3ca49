"""The documents that are held out of the demo's trainings.

A hash of the text decides, so that a text is held out in every Python version's corpus, or in none.
"""

import hashlib
import re

HELD_OUT_SHARE = 0.15


def is_held_out(text: str) -> bool:
    """Return whether a text is held out; its first line decides, without case and punctuation."""
    return falls_below(" ".join(re.findall(r"[a-z0-9]+", text.partition("\n")[0].lower())))


def falls_below(key: str, share: float = HELD_OUT_SHARE) -> bool:
    """Return True for about `share` of all keys, always for the same ones."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32
