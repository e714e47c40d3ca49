"""Kernels for CPUs in C: all steps of a layer after its attention as one pass over blocks of rows.

They need an x86 CPU with AVX-512 and its dot products of bytes (VNNI) and of bfloat16. On other CPUs, and
without a C compiler at installation, layers use oneDNN (`corpusmill.models.cpu.layout`).
"""
