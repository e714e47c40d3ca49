"""Exactness and speed of all architectures on a GPU, beside transformers, in under eight minutes.

Run from the repository's root, on a machine that has torch, numpy, safetensors and transformers:

    python benchmarks/gpu.py --output out/gpu

The package need not be installed. If a section fails, its error is recorded and the next one begins.
results.json and results.md are rewritten after each section, so that a run that is cut off keeps its results.
`--device cpu --width small` runs the same code without a GPU, to test it; its figures are not comparable.
"""

import argparse
import gc
import importlib.util
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = ("bert", "distilbert", "mobilebert", "squeezebert", "convbert")
GOALS = {"bert": "2.3M tokens/s", "distilbert": "4.5M tokens/s"}
TIMES = 5.0


def map_packages() -> None:
    """Import `corpusmill.models` from the folder models/ and `on_gpu` from benchmarks/, installed or not."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    above = ModuleType("corpusmill")
    above.__path__ = []
    sys.modules["corpusmill"] = above
    folder = ROOT / "models"
    spec = importlib.util.spec_from_file_location(
        "corpusmill.models", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpusmill.models"] = module
    spec.loader.exec_module(module)


@dataclass
class Sections:
    """The sections of a run: their results so far, the folder for them, and the time limit."""

    output: Path
    limit: float
    results: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def run(self, name: str, measure: Callable[[], Any], *, least: float = 5.0) -> Any:
        """Run a section if at least `least` seconds are left, and write its result."""
        spent = time.monotonic() - self.began
        if self.limit - spent < least:
            found: Any = {"skipped": f"{max(self.limit - spent, 0.0):.0f} s were left of {self.limit:.0f}"}
        else:
            try:
                found = measure()
            except Exception as error:
                found = {"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        _free_memory()
        self.results[name] = found
        self.results.setdefault("seconds", {})[name] = round(time.monotonic() - self.began - spent, 1)
        self.write()
        shown = json.dumps(found, default=str)
        print(f"[{time.monotonic() - self.began:6.1f} s] {name}: {shown[:600]}", flush=True)
        return found

    def write(self) -> None:
        """Write both files."""
        from on_gpu.report import page

        self.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.results, indent=1, default=str)
        (self.output / "results.json").write_text(text + "\n", encoding="utf-8")
        (self.output / "results.md").write_text(page(self.results, GOALS, TIMES), encoding="utf-8")


def _free_memory() -> None:
    """Free the device memory of a section."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments: list[str] | None = None) -> int:
    """Run all sections; return 1 if one failed or a check did not pass."""
    options = _options(arguments)
    map_packages()
    import torch

    from on_gpu import exactness, kernels, machine, speed, workload

    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device, so nothing was run; --device cpu runs the code, for a test")
        return 1
    sections = Sections(options.output, options.seconds)
    small = options.width == "small"
    sections.run("machine", lambda: machine.describe(options.device))
    limits = sections.run("limits", lambda: machine.ceilings(options.device, small=small))
    corpus = workload.draw_corpus(options.documents)
    sections.run("workload", lambda: {"documents": options.documents, "tokens": corpus.tokens})
    with tempfile.TemporaryDirectory() as work:
        where = partial(workload.write_checkpoint, width=options.width, folder=Path(work))
        settings = {"device": options.device, "rounds": options.rounds}
        peak = limits.get("product_tflops", float("nan")) * 1e12
        for name in options.architectures:
            sections.run(f"exactness {name}", lambda n=name: exactness.check(where(n), device=options.device))
        sections.run("kernels", lambda: kernels.check(device=options.device, small=small))
        for name in options.architectures:
            ours = partial(speed.measure, budgets=options.budgets, peak=peak, **settings)
            sections.run(f"speed {name}", lambda n=name, call=ours: call(where(n), corpus))
            # transformers is far slower and as steady, so one unit and fewer rounds are enough.
            theirs = partial(speed.reference, cells=(4096, *options.budgets), device=options.device)
            sections.run(f"transformers {name}", lambda n=name, call=theirs: call(n, where(n), corpus.first))
        if "mobilebert" in options.architectures:
            at_range = partial(exactness.at_range, trained=options.mobilebert, device=options.device)
            sections.run("MobileBERT at range", lambda: at_range(where("mobilebert")))
        for name in options.architectures:
            launching = partial(kernels.launching, device=options.device)
            sections.run(f"launching {name}", lambda n=name, call=launching: call(where(n)))
    print((options.output / "results.md").read_text(encoding="utf-8"))
    return 0 if _passed(sections.results) else 1


def _passed(results: dict[str, Any]) -> bool:
    sections = [found for found in results.values() if isinstance(found, dict)]
    return not any("failed" in found or found.get("passed") is False for found in sections)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--width", choices=("base", "small"), default="base")
    parser.add_argument("--seconds", type=float, default=460.0, help="no section begins after this")
    parser.add_argument("--output", type=Path, default=Path("out/gpu"))
    parser.add_argument("--documents", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budgets", type=int, nargs="+", default=[16384, 65536])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--mobilebert", type=Path, help="a trained checkpoint, to measure bfloat16 on")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
