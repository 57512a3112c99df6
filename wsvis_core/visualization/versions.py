"""Which code made a report."""

from __future__ import annotations

import subprocess
from pathlib import Path

import wsvis_core

ROOT = Path(wsvis_core.__file__).resolve().parents[1]


def code_version(root: Path = ROOT) -> str:
    """The commit of the source folder, "+" when files differ from it; "unknown commit" without git or a commit."""
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty=+"]
    # A package inside somebody else's repository must not show that one's commit.
    if not (root / ".git").exists():
        return "unknown commit"
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown commit"
    return f"commit {found.stdout.strip()}"
