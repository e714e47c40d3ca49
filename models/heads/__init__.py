"""The heads, one file and one line each: what is computed from an encoder's hidden states for a task."""

from corpusmill.models.checkpoints.spec import Head
from corpusmill.models.heads import (
    embedding,
    encoder_only,
    fill_mask,
    multiple_choice,
    next_sentence,
    pretraining,
    question_answering,
    sequence_classification,
    sparse_embedding,
    token_classification,
)

HEADS: dict[str, Head] = {
    "base": encoder_only.SPEC,
    "embedding": embedding.SPEC,
    "sparse-embedding": sparse_embedding.SPEC,
    "text-classification": sequence_classification.SPEC,
    "token-classification": token_classification.SPEC,
    "question-answering": question_answering.SPEC,
    "fill-mask": fill_mask.SPEC,
    "multiple-choice": multiple_choice.SPEC,
    "next-sentence-prediction": next_sentence.SPEC,
    "pretraining": pretraining.SPEC,
}
