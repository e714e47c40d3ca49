"""Notes about a checkpoint's tokenizer: settings without effect, and differences from transformers."""

from collections.abc import Iterator

from corpusmill.models import Checkpoint
from corpusmill.pipeline.encode.sequences import read_template
from corpusmill.pipeline.tokenize.added_tokens import added_tokens
from corpusmill.pipeline.tokenize.settings import BERT_CLASSES, TokenizerSettings, read_settings
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer


def tokenizer_notes(checkpoint: Checkpoint, task: str | None, *, pairs: bool) -> tuple[str, ...]:
    """Return the notes for a task; `pairs`: texts are read in pairs."""
    sentence = checkpoint.sentence_modules is not None
    settings = read_settings(str(checkpoint.folder), sentence=sentence)
    return (
        *settings.notes(),
        *_model_notes(settings, task, sentence=sentence),
        *(_token_type_notes(checkpoint, settings, sentence=sentence) if pairs else ()),
    )


def _model_notes(settings: TokenizerSettings, task: str | None, *, sentence: bool) -> Iterator[str]:
    tokenizer = load_tokenizer(settings.folder, sentence=sentence)
    kind = type(tokenizer.model).__name__
    if settings.class_name in ("", *BERT_CLASSES) and kind != "WordPiece":
        yield (
            f"{settings.folder}: tokenizer.json has a {kind} model, not a BERT tokenizer's WordPiece; it is "
            "used as it is, as in transformers 4; transformers 5 builds BertTokenizer from its words"
        )
    added = added_tokens(settings)
    for name, token in added.names.items():
        if added.config.get(name) and tokenizer.token_to_id(token.content) is None:
            yield (
                f"{settings.folder}: the vocabulary has no {token.content}, the {name}; a text's "
                f"{token.content} is cut like any word"
            )
    mask = added.names.get("mask_token")
    if task == "fill-mask" and mask is not None and mask.content != "[MASK]":
        yield (
            f"{settings.folder}: the mask is spelled {mask.content}, not [MASK]; a text without it has no "
            "predictions"
        )


def _token_type_notes(
    checkpoint: Checkpoint, settings: TokenizerSettings, *, sentence: bool
) -> Iterator[str]:
    if (
        settings.gives_token_types
        or "model_input_names" in settings.config
        or checkpoint.config.token_types < 2
    ):
        return
    if any(read_template(load_tokenizer(settings.folder, sentence=sentence)).pair.types):
        yield (
            f"{settings.folder}/tokenizer_config.json: {settings.class_name} gives no token types, so both "
            "texts of a pair have type 0, as in transformers 5; if the model was trained with types, as in "
            "transformers 4, add token_type_ids to model_input_names"
        )
