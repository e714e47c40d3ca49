"""From token ids to the outputs of a model: sequences, batches, windows."""
