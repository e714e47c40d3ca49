"""The results as a Markdown page."""

from collections.abc import Mapping
from typing import Any


def page(results: Mapping[str, Any], goals: Mapping[str, str], times: float) -> str:
    """Return the tables of the results so far, with the sections that failed or were skipped."""
    lines = ["# One run on a GPU", ""]
    for name in ("machine", "limits", "workload"):
        lines += [f"- {what}: {_shown(value)}" for what, value in results.get(name, {}).items()]
    lines += ["", *_speeds(results, goals, times), "", *_exactness(results), "", *_others(results), ""]
    return "\n".join(lines)


def _speeds(results: Mapping[str, Any], goals: Mapping[str, str], times: float) -> list[str]:
    lines = [
        "## Tokens a second, model stage, bfloat16",
        "",
        "| architecture | packed | share of product rate | transformers, padded by length | times | goal |",
        "|---|---|---|---|---|---|",
    ]
    for section, ours in results.items():
        kind, _, name = section.partition(" ")
        if kind != "speed":
            continue
        theirs = results.get(f"transformers {name}", {})
        rate, reference = ours.get("tokens/s"), theirs.get("tokens/s")
        ratio = f"{rate / reference:.2f}" if rate and reference else "-"
        goal = goals.get(name, f"{times:g} times transformers")
        lines.append(
            f"| {name} | {_rate(ours)} | {ours.get('share of the product rate', '-')} | {_rate(theirs)} "
            f"| {ratio} | {goal} |"
        )
    return lines


def _rate(found: Mapping[str, Any]) -> str:
    if "tokens/s" in found:
        return f"{found['tokens/s']:,.0f}"
    return str(found.get("failed") or found.get("skipped") or "-").replace("|", "/")[:80]


def _exactness(results: Mapping[str, Any]) -> list[str]:
    lines = ["## Exactness", ""]
    for section, found in results.items():
        if section.startswith("exactness "):
            lines += [f"- **{section.partition(' ')[2]}**: " + "; ".join(_facts(found))]
    return lines


def _others(results: Mapping[str, Any]) -> list[str]:
    lines = ["## Kernels, launching and what failed", ""]
    for section, found in results.items():
        if section in ("kernels", "MobileBERT at range") or section.startswith("launching "):
            lines.append(f"- **{section}**: " + "; ".join(_facts(found)))
        elif isinstance(found, Mapping) and ("failed" in found or "skipped" in found):
            lines.append(f"- {section}: {found.get('failed') or found.get('skipped')}")
    lines += [f"- {section}: {found['kernels']}" for section, found in _chosen_kernels(results)]
    return lines


def _chosen_kernels(results: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, found)
        for name, found in results.items()
        if isinstance(found, dict) and "batches" in found and "kernels" in found
    ]


def _facts(found: Mapping[str, Any]) -> list[str]:
    return [f"{what} {_shown(value)}" for what, value in found.items() if what != "trace"]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
