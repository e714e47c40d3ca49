"""The heads, one file and one line each: what is computed from an encoder's hidden states for a task."""

from corpusmill.models.heads import embedding, encoder_only, sequence_classification
from corpusmill.models.spec import Head

HEADS: dict[str, Head] = {
    "base": encoder_only.SPEC,
    "embedding": embedding.SPEC,
    "text-classification": sequence_classification.SPEC,
}
