"""The reference of a policy's fields, made from its types: a JSON Schema and a page of tables.

``python -m shim.policy.reference`` writes ``policies/schema.json`` and
``docs/policy-reference.md``; a test says when they are out of date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from .schema import Policy

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "policies" / "schema.json"
PAGE = ROOT / "docs" / "policy-reference.md"
#: The order in which a reader meets the types.
_ORDER = (
    "Policy",
    "Provider",
    "Health",
    "Capabilities",
    "Model",
    "Price",
    "CatchRule",
    "Part",
    "Inject",
    "Replace",
    "ToolRule",
    "Dedup",
    "Cache",
    "Repair",
    "RouteRule",
    "When",
    "Spread",
    "Auto",
    "Candidate",
    "Limit",
    "RedactRule",
    "Recording",
    "Agent",
    "Read",
)


def schema() -> dict[str, Any]:
    """The JSON Schema of a policy, for editors."""
    made = msgspec.json.schema(Policy)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Interpose policy"}
    return {**head, **made}


def schema_text() -> str:
    """The schema as it is written to the file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """The page of tables."""
    types = schema()["$defs"]
    assert set(types) == set(_ORDER), set(types) ^ set(_ORDER)
    lines = [
        "# Every field of a policy",
        "",
        "Made from the code by `python -m shim.policy.reference`. What the fields are for, with",
        "examples, stands in [policy.md](policy.md).",
        "",
        "Sizes are bytes or text such as `20kb`, times seconds or text such as `30s`, `10m`, `2h`,",
        "numbers of tokens `50000`, `50k` or `2M`. A pattern is a regular expression in RE2's",
        "syntax. In a name `*` stands for any part of it.",
    ]
    for name in _ORDER:
        lines += ["", *_table(name, types[name])]
    return "\n".join(lines) + "\n"


def _table(name: str, kind: dict[str, Any]) -> list[str]:
    first = " ".join(str(kind.get("description", "")).split("\n\n")[0].split())
    title = "The file itself" if name == "Policy" else name
    lines = [f"## {title}", "", first, "", "| field | what | is | default |", "|---|---|---|---|"]
    required = kind.get("required", ())
    for field, info in kind["properties"].items():
        default = "required" if field in required else _default(info)
        said = str(info.get("description", "")).replace("|", "\\|")
        lines.append(f"| `{field}` | {said} | {_kind(info)} | {default} |")
    return lines


def _default(info: dict[str, Any]) -> str:
    value = info.get("default")
    if value is None or value in ("", [], {}):
        return ""
    return "" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def _kind(info: dict[str, Any]) -> str:
    if "anyOf" in info:
        kinds = dict.fromkeys(_kind(k) for k in info["anyOf"] if k.get("type") != "null")
        return " or ".join(k for k in kinds if k)
    if "$ref" in info:
        name = info["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in info:
        return ", ".join(f"`{v}`" for v in info["enum"] if v is not None)
    kind = info.get("type")
    if kind == "array":
        return f"list of {_kind(info.get('items', {}))}"
    if kind == "object":
        return f"names to {_kind(info.get('additionalProperties') or {})}"
    plain = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}
    return plain.get(str(kind), "")


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
