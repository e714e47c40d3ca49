"""Kernels for CPUs in C: everything of a layer between two attentions as one pass over blocks of rows.

For x86 CPUs with AVX-512 and its dot products of bytes (VNNI) and of bfloat16. On others, and where there was
no C compiler when the package was installed, the layers are oneDNN's (`corpusmill.models.cpu.layout`).
"""
