"""Write docs/settings.md from the configuration models; a test fails when the file is out of date."""

from __future__ import annotations

import re
import sys
import types
import typing
from pathlib import Path

import yaml
from pydantic.fields import FieldInfo

from wsvis_core.config import SECTIONS, DatasetSettings, Section
from wsvis_core.stages import STAGES

HEADER = """# Settings

Every key of `config.yaml`, its default and its range. Where the paper gives a value it is the default. Written by
`tools/write_settings_doc.py` from `wsvis_core/config.py`; do not edit by hand.

A run's settings are merged in this order, later ones win, key by key:

1. the defaults below,
2. a section at the top level of `config.yaml`, then of every file given with `--configfile`,
3. the same section inside a data set's block (`datasets: {mine: {cam: {lr: 0.02}}}`), of these files likewise,
4. the named variant that a path asks for: `flows`, `labellers`, `segmenters` and `trackers` are sets of overrides.

`wsvis check --configfile mine.yaml` names a key that does not exist, and the one that was meant. A changed value runs
those stages again that read its section, and what depends on them; each section says which. `seed`, at the top level,
is that of everything random in training.

| group | sections |
|---|---|
"""
TYPES = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", dict: "mapping"}
TYPES[type(None)] = "`null`"
# Sections by what they are about, in the order of the page.
GROUPS = {
    "data": ["datasets"],
    "flow": ["flow"],
    "pseudo-labels": ["stage1", "cam", "f_cam", "label_maps", "flowirn", "f_bound", "pseudo_labels"],
    "masks": ["maskconsist", "prediction", "self_training"],
    "tracks": ["tracking"],
    "the run, and what is said of it": ["pipeline", "evaluation", "tables", "quality", "report"],
}


def settings_markdown() -> str:
    """The whole document."""
    models = {"datasets": DatasetSettings, **SECTIONS}
    left = [name for name in models if not any(name in names for names in GROUPS.values())]
    groups = {**GROUPS, **({"other": left} if left else {})}
    overview = "".join(
        f"| {group} | {', '.join(f'[`{name}`](#{name})' for name in names)} |\n" for group, names in groups.items()
    )
    ordered = [name for names in groups.values() for name in names]
    blocks = [block for name in ordered for block in _with_inner(name, models[name])]
    return HEADER + overview + "".join(_section(*block) for block in blocks)


def _with_inner(name: str, model: type[Section]) -> list[tuple[str, type[Section]]]:
    """A section, then the sections inside it."""
    inner = [(f"{name}.{key}", type(f.default)) for key, f in model.model_fields.items()]
    return [(name, model), *((key, kind) for key, kind in inner if issubclass(kind, Section))]


def _section(name: str, model: type[Section]) -> str:
    title = _linked((model.__doc__ or "").splitlines()[0])
    rows = [_row(name, field.alias or key, field) for key, field in model.model_fields.items()]
    table = ["| key | default | values | meaning |", "|---|---|---|---|", *rows]
    level = "###" if "." in name else "##"
    return "\n".join([f"\n{level} `{name}`\n", f"{title}{_readers(name)}\n", *table]) + "\n"


def _readers(name: str) -> str:
    """Which stages read a section."""
    if name == "datasets":
        return " One block per data set, by name; it may hold every other section too."
    stages = [f"`{stage}`" for stage, spec in STAGES.items() if name in spec.sections]
    return f" Read by {', '.join(stages)}." if stages else ""


def _row(section: str, key: str, field: FieldInfo) -> str:
    if isinstance(field.default, Section):
        anchor = f"{section}{key}".replace(".", "")
        return f"| `{key}` | | | its own table: [`{section}.{key}`](#{anchor}) |"
    default = "required" if field.is_required() else f"`{_plain(field.default)}`"
    return f"| `{key}` | {default} | {_values(field)} | {_linked(field.description or '')} |"


def _linked(text: str) -> str:
    """Names of pages as links."""
    return re.sub(r"\bdocs/(\w+)\.md", r"[\1.md](\1.md)", text)


def _plain(value: object) -> str:
    """A value as YAML has it."""
    return yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=1000
    ).split("\n")[0]


def _values(field: FieldInfo) -> str:
    """The type in words, with its limits."""
    limits = ", ".join(filter(None, (_limit(item) for item in field.metadata)))
    kind, *empty = _type_name(field.annotation).split(" or `null`")
    return f"{kind} {limits}".strip() + (" or `null`" if empty else "")


def _type_name(kind: object) -> str:
    """A type in words: "number > 0" of an annotated one, "… or …" of a union, "list of …" or "[…, …]" of tuples."""
    base, *rest = typing.get_args(kind) or (None,)
    if typing.get_origin(kind) is typing.Annotated:
        limits = (_limit(item) for field in rest for item in getattr(field, "metadata", [field]))
        return " ".join(word for word in (_type_name(base), *limits) if word)
    if typing.get_origin(kind) is tuple:
        return f"list of {_type_name(base)}" if rest == [...] else f"[{', '.join(map(_type_name, (base, *rest)))}]"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in (base, *rest))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, (base, *rest)))
    return TYPES[typing.get_origin(kind) or kind]


def _limit(item: object) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{sign} {getattr(item, key)}" for key, sign in signs.items() if getattr(item, key, None) is not None]
    return ", ".join(found)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/settings.md")
    target.write_text(settings_markdown())
