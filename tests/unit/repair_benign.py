"""Texts that talk about tool calls, or have nothing to do with them: none may become a call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from shim.repair.dialects import DIALECTS
from tests.unit.repair_cases import ALL, kinds_of

ROOT = Path(__file__).resolve().parents[2]
_KINDS = {".py", ".md", ".rst", ".txt", ".html", ".js", ".css", ".xml", ".pyi", ".toml", ".j2"}
_PIECE = 6000


def _quoted(mark: str, text: str) -> str:
    return "\n".join(mark + line for line in text.split("\n"))


def shown(call: str) -> dict[str, str]:
    """``call`` in the ways in which a text shows one without meaning it."""
    line = call.replace("\n", " ")
    return {
        "fence with text behind": f"So it goes:\n\n```\n{call}\n```\n\nThat runs the tool.",
        "fence of another language": f"So it goes:\n\n```python\n{call}\n```\n",
        "tilde fence, then text": f"~~~~text\n{call}\n~~~~\nAs seen above.",
        "fence in a list": f"1. Write this:\n\n   ```\n   {call}\n   ```\n2. Wait.",
        "inline code": f"Write `{line}` and wait for the result.",
        "inline code at the beginning": f"`{line}` is what the model writes.",
        "double quotes": f'The log says "{call}" and nothing more.',
        "quoted line": f'"{call}"\n',
        "blockquote": f"The issue says:\n\n{_quoted('> ', call)}\n\nI do not agree.",
        "diff in a fence": f"```diff\n@@ -1 +1 @@\n{_quoted('+', call)}\n```\nApplied.",
        "bare diff": f"--- a/t.md\n+++ b/t.md\n@@ -1 +1,9 @@\n{_quoted('+', call)}\n",
        "context of a diff": f"--- a/t.md\n+++ b/t.md\n@@ -1 +1,9 @@\n{_quoted(' ', call)}\n+x\n",
        "in a sentence": f"A model that writes {call} means the tool.",
        "at a sentence's end": f"What it should have written is {call}.",
        "indented code": f"So:\n\n{_quoted('    ', call)}\n\nand so on.",
        "table": f"| form | what |\n|---|---|\n| {line} | a call |\n",
        "comment": f"<!--\n{call}\n-->\nSee the comment.",
        "pre": f"<pre>\n{call}\n</pre>\n",
        "example named so": f"For example:\n{call}\nThat is all there is to it.",
        "JSON text": json.dumps({"log": call}, ensure_ascii=False),
    }


def carrying() -> Iterator[tuple[str, str]]:
    """(where it is from, text): each shows a call of an offered tool with arguments that fit."""
    for name in ALL:
        for kind, tool in kinds_of(DIALECTS[name]).items():
            call = DIALECTS[name].write(tool.name, tool.arguments)
            for way, text in shown(call).items():
                yield f"{name}, {kind}, {way}", text


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _KINDS or not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        for at in range(0, min(len(text), 10 * _PIECE), _PIECE):
            yield f"{path.relative_to(folder)}:{at}", text[at : at + _PIECE]


def unrelated() -> Iterator[tuple[str, str]]:
    """(where it is from, text): this project's files and those of the installed packages."""
    for name in ("shim", "addons", "tests", "benchmarks", "docs", "policies"):
        yield from _files(ROOT / name)
    for name in ("README.md", "pyproject.toml", "Makefile"):
        yield name, (ROOT / name).read_text("utf-8")
    for folder in sorted((ROOT / ".venv" / "lib").glob("python3*/site-packages")):
        yield from _files(folder)
