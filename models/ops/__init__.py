"""The law of this package: only files in this folder, and `packed.py`, look across token positions.

Attention and pooling read where a sequence begins and ends. Embeddings, linear maps, norms, activations and
heads work on each token by itself, so every architecture built from them is padding-free by construction.
"""
