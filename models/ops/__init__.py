"""The law of this package: only this folder, `packed.py` and the kernels in `gpu` that are chosen here
look across token positions.

Attention and pooling read where a sequence begins and ends. Embeddings, linear maps, norms, activations and
heads work on each token by itself, so every architecture built from them is padding-free by construction.
"""
