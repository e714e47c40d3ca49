"""Names that several families' checkpoints share, as pairs of ours and theirs."""

LABELS = (
    ("head.classifier.", "classifier."),
    ("head.scorer.", "classifier."),
    ("head.tagger.", "classifier."),
    ("head.spans.", "qa_outputs."),
)
POOLER = (
    ("head.pooler.map.linear.", "pooler.dense."),
    ("head.summary.map.linear.", "pooler.dense."),
)
PREDICTIONS = (
    ("head.relationship.", "cls.seq_relationship."),
    ("head.words.transform.linear.", "cls.predictions.transform.dense."),
    ("head.words.norm.", "cls.predictions.transform.LayerNorm."),
    ("head.words.rest.", "cls.predictions.dense."),
    ("head.words.", "cls.predictions."),
)
EMBEDDINGS = (
    ("encoder.embeddings.words.", "embeddings.word_embeddings."),
    ("encoder.embeddings.positions.", "embeddings.position_embeddings."),
    ("encoder.embeddings.token_types.", "embeddings.token_type_embeddings."),
    ("encoder.embeddings.norm.", "embeddings.LayerNorm."),
)
