"""The page docs/dialects.md, made of the table of dialects and of what the tests find.

``python -m tests.unit.repair_page`` writes it; a test says when it is out of date.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from shim.repair.dialects import DIALECTS, NUMBERS
from tests.unit.repair_benign import carrying
from tests.unit.repair_cases import DAMAGES, cases, kinds_of, run, story

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dialects.md"
STRICTNESS = ("strict", "normal", "loose")
_TOOL = ("exec_command", {"cmd": "ls"})
_PATCH = ("apply_patch", {"input": "*** Begin Patch\n*** Add File: a\n+b\n*** End Patch"})
_WHERE = {
    "marked": "anywhere",
    "ended": "at the message's end",
    "fenced": "a fence at the message's end",
}

HEAD = """# Dialects: how a tool call looks in text

Made by `python -m tests.unit.repair_page` from the table in `shim/repair/dialects` and from what the
tests find; what repair does with them stands in [repair.md](repair.md).

Under *where*: a form between markers may stand anywhere that a call may; one without an end of its own
counts only where the message ends with it.
"""


def page() -> str:
    """The whole page."""
    lines = [
        HEAD.rstrip(),
        "",
        "| no. | name | models | where | damaged |",
        "|---|---|---|---|---|",
    ]
    outcome: dict[str, Counter[str]] = {name: Counter() for name in DIALECTS}
    by_damage: dict[str, dict[str, Counter[str]]] = {
        damage: {s: Counter() for s in STRICTNESS} for damage in ("intact", *DAMAGES)
    }
    for name, _, damage, text in cases():
        for strictness in STRICTNESS:
            made = "call" if story(run([text], strictness=strictness))[1] else "text"
            by_damage[damage][strictness][made] += 1
            if strictness == "normal" and damage != "intact":
                outcome[name][made] += 1
    for name, dialect in DIALECTS.items():
        found = outcome[name]
        lines.append(
            f"| {NUMBERS[name]} | `{name}` | {dialect.families} | {_WHERE[dialect.kind]} "
            f"| {found['call']} of {found.total()} |"
        )
    lines += [
        "",
        "*damaged*: how many of its damaged texts still become the call, of those below.",
        "",
    ]
    lines += [
        "## Damage",
        "",
        "Calls made of so many texts; all others come out as they went in.",
        "",
    ]
    lines += ["| damage | texts | strict | normal | loose |", "|---|---|---|---|---|"]
    for damage, by in by_damage.items():
        cells = " | ".join(str(by[s]["call"]) for s in STRICTNESS)
        lines.append(f"| {damage} | {by['normal'].total()} | {cells} |")
    lines += ["", *_shown(), *_bare(), *_examples()]
    return "\n".join(lines) + "\n"


def _shown() -> list[str]:
    texts = list(carrying())
    counts = [
        sum(bool(story(run([text], strictness=s))[1]) for _, text in texts) for s in STRICTNESS
    ]
    cells = " | ".join(map(str, counts))
    return [
        "## Text that only shows a call",
        "",
        "An offered name with arguments that fit, in fences, inline code, quotations, diffs and",
        "sentences; none of these may become a call but in the loose way, which takes a call in a",
        "sentence for one.",
        "",
        "| texts | strict | normal | loose |",
        "|---|---|---|---|",
        f"| {len(texts)} | {cells} |",
        "",
    ]


def _bare() -> list[str]:
    """A call on lines of its own between prose: nothing tells whether it is meant."""
    counts: Counter[str] = Counter()
    total = 0
    for dialect in DIALECTS.values():
        for tool in kinds_of(dialect).values():
            call = dialect.write(tool.name, tool.arguments)
            text = f"I know the form.\n\n{call}\n\nThen the tool answers."
            total += 1
            for strictness in STRICTNESS:
                counts[strictness] += bool(story(run([text], strictness=strictness))[1])
    cells = " | ".join(str(counts[s]) for s in STRICTNESS)
    return [
        "## A bare call between prose",
        "",
        "A call on lines of its own, with prose before and behind it, is a call in the normal and the",
        "loose way where its form has an end of its own, and text in the strict way: nothing else",
        "tells an example from a call that the model goes on to talk about. Behind a line such as",
        "“for example:” it is text.",
        "",
        "| texts | strict | normal | loose |",
        "|---|---|---|---|",
        f"| {total} | {cells} |",
        "",
    ]


def _examples() -> list[str]:
    lines = ["## Each in its own words", ""]
    for name, dialect in DIALECTS.items():
        tool, arguments = _PATCH if name.endswith("patch") else _TOOL
        lines += [
            f"{NUMBERS[name]}. `{name}`",
            "",
            "~~~~text",
            dialect.write(tool, arguments),
            "~~~~",
            "",
        ]
    return lines[:-1]


def main() -> None:
    """Write it."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
