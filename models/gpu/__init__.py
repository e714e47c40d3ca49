"""Layers for GPUs: Triton kernels, CUDA graphs, and the choice between them and plain torch."""
