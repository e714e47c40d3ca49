"""Texts that tokenizers disagree about, and a vocabulary with some of their words."""

import json
from pathlib import Path

from support.tiny_checkpoints import VOCABULARY

_PATH = Path(__file__).parents[1] / "pipeline" / "tokenize" / "data" / "nasty_texts.json"
TEXTS: list[str] = json.loads(_PATH.read_text("utf-8"))
_PIECES = (*"éàïäßıİ日本中文字한국어ภาษไשלוםעربية😀❤", "\u0301", "caf", "cafe", "##é", "##e", "HELLO", "The")
_WORDS = ("World", "<ent>", "istanbul", "strasse", "straße", "fish", "[unused1]")
VOCAB = tuple(dict.fromkeys((*VOCABULARY, *_PIECES, *_WORDS)))
