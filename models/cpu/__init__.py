"""Layers for CPUs: weights laid out for oneDNN, int8 maps, and kernels in C."""
