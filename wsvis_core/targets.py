"""Data sets named by the results a user asks Snakemake for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from wsvis_core.errors import WsvisError

# Results of a data set that lie beside its folder: results/demo_vis.json.
ENDINGS = ("_vis.json", "_report.html", "_strips.jpg", "_quality.csv")
_RESULT = re.compile(rf"(?:\./)?results/(?P<name>[^/]+?)(?P<rest>{'|'.join(map(re.escape, ENDINGS))}|/.*)")
# Options of Snakemake whose value is a file or a folder, not a result.
_WITH_A_PATH = ("--report", "--directory", "-d", "--configfile", "--configfiles", "--archive")


def check_targets(arguments: Sequence[str], datasets: Collection[str]) -> None:
    """Raise WsvisError for a result of a data set that the configuration lacks; Snakemake says "No rule to produce".

    arguments: Snakemake's command line, which it has not read yet when it reads the Snakefile; what is no path below
    results/ is left to it.
    """
    for before, target in zip(["", *arguments], arguments, strict=False):
        found = _RESULT.fullmatch(target)
        if found is None or before in _WITH_A_PATH or found["name"] in datasets:
            continue
        near = difflib.get_close_matches(found["name"], list(datasets), 1, cutoff=0.5)
        hint = f"; did you mean results/{near[0]}{found['rest']}?" if near else ""
        raise WsvisError(
            f"{target} is of a data set '{found['name']}', and the configuration has {', '.join(datasets)}{hint}\n"
            f"A data set of your own comes with the file that describes it: snakemake --configfile FILE ..."
        )
