"""What a measurement ran on, in words and as a part of a file's name."""

import platform
import re
from importlib import metadata

from corpusmill.pipeline.cpus import processor, usable_cpus

FEATURES = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "asimd")
PACKAGES = ("torch", "ray", "pyarrow", "tokenizers", "transformers", "onnxruntime", "openvino")


def hardware() -> str:
    """Return the CPU, its cores and what matters of its instructions."""
    cpu = processor()
    found = [name for name in FEATURES if name in cpu.features]
    return f"{usable_cpus()} cores of {cpu.name} ({', '.join(found) or platform.machine()})"


def label() -> str:
    """Return the hardware for a file's name: 2-core-amd-epyc."""
    words = re.sub(r"\(.*?\)|@.*|cpu|processor", " ", processor().name.lower())
    return "-".join([f"{usable_cpus()}-core", *re.findall(r"[a-z0-9]+", words)])[:40].strip("-")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
