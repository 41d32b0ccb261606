"""The table of orchestray's own keys in docs/configuration.md, written from the code's table.

``python -m tests.unit.config.docs_table`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from services.config import OWN_KEYS, Secret

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
BEGIN = "<!-- own keys: written by python -m tests.unit.config.docs_table -->"
END = "<!-- end of own keys -->"


def table() -> str:
    """The table in Markdown."""
    lines = ["| Key | Type | Default | Unit | Takes effect | Meaning |", "|---|---|---|---|---|---|"]
    for key in OWN_KEYS:
        effect = "restart" if key.restart else "reload"
        default = json.dumps(_plain(key.default))
        lines.append(
            f"| `{key.name}` | {key.kind.label} | {default} | {key.unit} | {effect} | {key.meaning} |"
        )
    return "\n".join(lines)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return value.reveal() if isinstance(value, Secret) else value


def page_with(new_table: str) -> str:
    """The page with this table in place of the one it has."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{new_table}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
