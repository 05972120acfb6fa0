"""A verification report as a Markdown table, to be committed with the recipes. Pure."""

from __future__ import annotations

from typing import Final

from hermetic.verify.perturb import NAMES
from hermetic.verify.verdict import Report, Verdict

_WORDS: Final = {
    "reproducible": "the same bytes",
    "differs": "**differs**",
    "failed": "**rebuild failed**",
    "unbuilt": "**not built**",
}


def markdown(report: Report) -> str:
    """The report: what was rebuilt, under which perturbations, and the result of each derivation.

    It contains no times: the same verdicts give the same text.
    """
    rounds = max((v.round for v in report.verdicts), default=1)
    same = sum(v.status == "reproducible" for v in report.verdicts)
    rebuilt = sum(v.status != "unbuilt" for v in report.verdicts)
    lines = [
        "# Rebuilt and compared",
        "",
        "Written by `hermetic verify --report`.",
        "",
        f"Rebuilt: {report.target}. {same} of {rebuilt} rebuilds gave the same bytes.",
        "",
        "Conditions that were varied:",
        "",
        *(f"- `{name}`: {NAMES[name]}" for name in report.perturbed),
        *([] if report.perturbed else ["- nothing"]),
        "",
        "| derivation | rebuilds | content hash | |",
        "|---|---|---|---|",
    ]
    by_label: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in report.verdicts:
        by_label.setdefault((verdict.label, verdict.drv_id), []).append(verdict)
    for (label, _), verdicts in sorted(by_label.items()):
        words = " ".join(dict.fromkeys(_WORDS[v.status] for v in verdicts))
        done = sum(v.status in ("reproducible", "differs") for v in verdicts)
        count = f"{done}" if done == rounds else f"{done} of {rounds}"
        content = f"`{verdicts[0].expected}`" if verdicts[0].expected else ""
        lines.append(f"| {label} | {count} | {content} | {words} |")
    return "\n".join(lines) + "\n"
