"""A folder of files turned into a specification: config.json, safetensors, sentence-transformers modules."""
