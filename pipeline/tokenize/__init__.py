"""From distinct texts to token ids."""
