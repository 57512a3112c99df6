"""Write docs/settings.md from the configuration models; a test fails when the file is out of date."""

from __future__ import annotations

import sys
import typing
from pathlib import Path

from pydantic.fields import FieldInfo

from wsvis_core.config import SECTIONS, DatasetSettings, Section

HEADER = """# Settings

Every key of `config.yaml`, its default and its range. Written by `tools/write_settings_doc.py` from
`wsvis_core/config.py`; do not edit by hand. Where the paper gives a value it is the default.
"""


def settings_markdown() -> str:
    """The whole document."""
    models = {"datasets.<name>": DatasetSettings, **SECTIONS}
    return HEADER + "".join(_section(*block) for name, model in models.items() for block in _with_inner(name, model))


def _with_inner(name: str, model: type[Section]) -> list[tuple[str, type[Section]]]:
    """A section, then the sections inside it."""
    inner = [(f"{name}.{key}", type(f.default)) for key, f in model.model_fields.items()]
    return [(name, model), *((key, kind) for key, kind in inner if issubclass(kind, Section))]


def _section(name: str, model: type[Section]) -> str:
    title = (model.__doc__ or "").splitlines()[0]
    rows = [_row(field.alias or key, field) for key, field in model.model_fields.items()]
    table = ["| key | default | values | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([f"\n## {name}\n", f"{title}\n", *table]) + "\n"


def _row(key: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else f"`{_plain(field.default)}`"
    return f"| `{key}` | {default} | {_values(field)} | {field.description or ''} |"


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return "see below"
    return list(value) if isinstance(value, tuple) else value


def _values(field: FieldInfo) -> str:
    """Choices of a Literal, or the type's name with its limits."""
    if typing.get_origin(field.annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(field.annotation))
    words = [_type_name(field.annotation)] + [_limit(item) for item in field.metadata]
    return " ".join(word for word in words if word).replace("|", "or")


def _type_name(kind: object) -> str:
    """A type in words: "int ≥ 1" of an annotated one, "list of …" or "[…, …]" of tuples."""
    base, *rest = typing.get_args(kind) or (None,)
    if typing.get_origin(kind) is typing.Annotated:
        limits = (_limit(item) for field in rest for item in getattr(field, "metadata", [field]))
        return " ".join(word for word in (_type_name(base), *limits) if word)
    if typing.get_origin(kind) is tuple:
        return f"list of {_type_name(base)}" if rest == [...] else f"[{', '.join(map(_type_name, (base, *rest)))}]"
    return getattr(kind, "__name__", "") if base is None else str(kind).replace("typing.", "")


def _limit(item: object) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [f"{sign} {getattr(item, key)}" for key, sign in signs.items() if getattr(item, key, None) is not None]
    return " ".join(found)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/settings.md")
    target.write_text(settings_markdown())
