"""The tokenizers of the demo's checkpoints: WordPiece with vocabularies of their own."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL_TOKENS))
DEMO = Path(__file__).parents[1] / "configs" / "demo"
"""The folder of the demo's checkpoints."""


def train_tokenizer(
    texts: list[str], *, vocabulary: int, lowercase: bool, words: pre_tokenizers.PreTokenizer | None = None
) -> Tokenizer:
    """Return a WordPiece tokenizer like BERT's; `words` replaces its splitting into words."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = words or pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL_TOKENS, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, *, of: str, max_length: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and vocab.txt."""
    tokenizer.save(str(folder / "tokenizer.json"))
    types = ["token_type_ids"] if of == "BertTokenizer" else []
    settings = {
        "tokenizer_class": of,
        "do_lower_case": tokenizer.normalizer.lowercase,
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "model_max_length": max_length,
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    tokenizer.model.save(str(folder))
