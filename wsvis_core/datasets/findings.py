"""Collects what is wrong with a data set, so that the user hears all of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wsvis_core.errors import WsvisError

EXAMPLES = 5


@dataclass
class Finding:
    """One kind of problem: how often it was seen, and the first few cases."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, detail: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(detail)


@dataclass
class Findings:
    """Errors (the data set cannot be used) and warnings (it can), each grouped by kind in order of appearance."""

    errors: dict[str, Finding] = field(default_factory=dict)
    warnings: dict[str, Finding] = field(default_factory=dict)

    def error(self, kind: str, detail: str) -> None:
        self.errors.setdefault(kind, Finding()).add(detail)

    def warn(self, kind: str, detail: str) -> None:
        self.warnings.setdefault(kind, Finding()).add(detail)

    def raise_errors(self, subject: str, next_step: str) -> None:
        """Raise one WsvisError that lists every kind of error with its count; do nothing without errors."""
        if not self.errors:
            return
        total = sum(finding.count for finding in self.errors.values())
        lines = [f"{subject}: {total} problem{'s' if total > 1 else ''} found"]
        raise WsvisError("\n".join([*lines, *_listed(self.errors), next_step]))

    def warning_lines(self) -> list[str]:
        """The warnings for the screen, under a headline; [] without any."""
        total = sum(finding.count for finding in self.warnings.values())
        return [f"{total} warning{'s' if total > 1 else ''}:", *_listed(self.warnings)] if total else []

    def warning_list(self) -> list[dict[str, Any]]:
        """The warnings as plain values: what, count, examples."""
        return [
            {"what": kind, "count": finding.count, "examples": finding.examples}
            for kind, finding in self.warnings.items()
        ]


def _listed(group: dict[str, Finding]) -> list[str]:
    """Every kind with its count, and its examples below."""
    lines = []
    for kind, finding in group.items():
        lines.append(f"  {finding.count} x {kind}")
        lines += [f"      {example}" for example in finding.examples]
        if finding.count > len(finding.examples):
            lines.append(f"      ... and {finding.count - len(finding.examples)} more")
    return lines
