"""Building blocks of the architectures, each defined on one token at a time."""
