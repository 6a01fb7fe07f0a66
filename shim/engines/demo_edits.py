"""Which one-operator edits could explain a failing test, the likeliest first, and their patches.

Every edit swaps one operator of a suspected function for a near one (`-` for `+`, `<` for `<=`,
`and` for `or`). Where the source can be evaluated (`demo_eval`), an edit that contradicts a check
is dropped and one that satisfies all of them comes first; where it cannot, order is by habit:
a boundary in the failing call points at `<`/`<=`, otherwise logic and signs are swapped first.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .demo_eval import Machine, Unknown, functions_of, parse
from .demo_failures import Example

MAX_EDITS = 6
_MAX_EXAMINED = 60
_WORDLIKE = re.compile(r"[\w)\]}'\"$]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

_SWAPS: dict[str, tuple[str, ...]] = {
    "<": ("<=", ">", ">="),
    "<=": ("<", ">=", ">"),
    ">": (">=", "<", "<="),
    ">=": (">", "<=", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "===": ("!==",),
    "!==": ("===",),
    "+": ("-", "*"),
    "-": ("+",),
    "*": ("+", "/"),
    "/": ("*", "//"),
    "//": ("/", "*"),
    "%": ("//",),
    "**": ("*",),
    "+=": ("-=", "*="),
    "-=": ("+=",),
    "*=": ("+=",),
    "and": ("or",),
    "or": ("and",),
    "&&": ("||",),
    "||": ("&&",),
    "min": ("max",),
    "max": ("min",),
    "-lt": ("-le", "-gt", "-ge"),
    "-le": ("-lt", "-ge", "-gt"),
    "-gt": ("-ge", "-lt", "-le"),
    "-ge": ("-gt", "-le", "-lt"),
    "-eq": ("-ne",),
    "-ne": ("-eq",),
    "not in": ("in",),
    "is not": ("is",),
}
#: Operators that touch only the value at the boundary when swapped for each other.
_TWINS = {frozenset(p) for p in (("<", "<="), (">", ">="), ("-lt", "-le"), ("-gt", "-ge"))}
_QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_TOKENS = {
    "py": re.compile(
        rf"#.*|{_QUOTED}|->|:=|\*\*=|//=|<<|>>|\*\*|//|<=|>=|==|!=|\+=|-=|\*=|/=|[-+*/%<>]"
        r"|\b(?:and|or|not in|is not|min|max)\b"
    ),
    "sh": re.compile(r"(?<!\S)#.*|-(?:lt|le|gt|ge|eq|ne)\b|&&|\|\||\$\(\(|\)\)|[-+*/%]"),
    "js": re.compile(
        rf"//.*|/\*.*?\*/|{_QUOTED}|=>|\+\+|--|===|!==|<=|>=|==|!=|\+=|-=|\*=|/=|&&|\|\||<<|>>"
        r"|\*\*|[-+*/%<>]|\b(?:min|max)\b"
    ),
}
_HEADS = {
    "sh": re.compile(r"^\s*(?:function\s+)?([\w-]+)\s*\(\)"),
    "js": re.compile(
        r"^\s*(?:export\s+)?(?:default\s+)?(?:async\s+)?(?:function\s+(\w+)"
        r"|(?:const|let|var)\s+(\w+)\s*=\s*(?:async\s*)?(?:function\b|\(|\w+\s*=>))"
    ),
}


@dataclass(frozen=True)
class Edit:
    """Replace ``old`` by ``new`` at ``line`` (from 0) and ``column`` of the file ``path``.
    ``proven``: evaluated, and consistent with every check."""

    path: str
    line: int
    column: int
    old: str
    new: str
    function: str
    proven: bool = False

    def apply(self, source: str) -> str:
        lines = source.split("\n")
        text = lines[self.line]
        end = self.column + len(self.old)
        lines[self.line] = text[: self.column] + self.new + text[end:]
        return "\n".join(lines)


def edits(
    sources: Mapping[str, str], failing: Sequence[Example], known: Sequence[Example], output: str
) -> list[Edit]:
    """At most `MAX_EDITS` edits, the likeliest first; empty when none fits.

    ``sources``: path → text of the files under suspicion; ``failing`` and ``known``: the checks
    that failed and all that the tests make; ``output``: what the test run printed.
    """
    found: list[tuple[tuple[int, ...], Edit]] = []
    # A model of the source that does not even show the failure is not to be trusted.
    modelled = _holds(sources, failing) is False
    for place, (path, source) in enumerate(sources.items()):
        for rank, region in enumerate(_suspects(path, source, failing, known, output)):
            for number, edit in enumerate(_swaps(path, source, region)):
                if len(found) >= _MAX_EXAMINED:
                    break
                verdict = _judge(sources, edit, failing, known) if modelled else None
                if verdict is False:
                    continue
                habit = _habit(edit, source, failing or known)
                found.append(((rank, habit, place, number), replace(edit, proven=verdict is True)))
    if any(edit.proven for _, edit in found):
        found = [f for f in found if f[1].proven]
    return [edit for _, edit in sorted(found, key=lambda f: f[0])][:MAX_EDITS]


@dataclass(frozen=True)
class _Region:
    name: str
    lines: range


def _language(path: str) -> str:
    suffix = path.rpartition(".")[2].lower()
    return {"py": "py", "sh": "sh", "bash": "sh"}.get(suffix, "js")


def _regions(path: str, source: str) -> list[_Region]:
    """The functions of a file with the lines of their bodies."""
    language = _language(path)
    if language == "py":
        tree = parse(source)
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)] if tree else []
        return [_Region(n.name, range(_start(n), n.end_lineno or n.lineno)) for n in nodes]
    lines, found = source.split("\n"), []
    for at, line in enumerate(lines):
        if match := _HEADS[language].match(line):
            indent = len(line) - len(line.lstrip())
            stop = next(
                (
                    i
                    for i in range(at + 1, len(lines))
                    if lines[i].strip() and len(lines[i]) - len(lines[i].lstrip()) <= indent
                ),
                at,
            )
            name = next(g for g in match.groups() if g)
            found.append(_Region(name, range(at if stop == at else at + 1, max(stop, at + 1))))
    return found


def _start(node: ast.FunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        return first.end_lineno or first.lineno
    return first.lineno - 1


def _suspects(
    path: str, source: str, failing: Sequence[Example], known: Sequence[Example], output: str
) -> list[_Region]:
    """The functions the failing checks name, then those these call; else all that tests name."""
    regions = _regions(path, source)
    lines = source.split("\n")
    for text in (" ".join(e.text for e in failing), output, " ".join(e.text for e in known)):
        words = set(re.findall(r"\w+", text))
        chosen = [r for r in regions if r.name in words]
        if chosen:
            break
    else:
        return regions or [_Region("", range(len(lines)))]
    for region in chosen:
        called = set(re.findall(r"\w+", "\n".join(lines[i] for i in region.lines)))
        chosen += [r for r in regions if r.name in called and r not in chosen]
    return chosen


def _swaps(path: str, source: str, region: _Region) -> Iterator[Edit]:
    language = _language(path)
    lines = source.split("\n")
    for at in region.lines:
        text = lines[at]
        arithmetic = language != "sh"
        for match in _TOKENS[language].finditer(text):
            token = match[0]
            if token in ("$((", "))"):
                arithmetic = token == "$(("
            before = text[: match.start()].rstrip()[-1:]
            binary = arithmetic and _WORDLIKE.match(before)
            if token in ("+", "-", "*", "**", "/", "%") and not binary:
                continue
            for new in _SWAPS.get(token, ()):
                edit = Edit(path, at, match.start(), token, new, region.name)
                if language != "py" or parse(edit.apply(source)):
                    yield edit


def _judge(
    sources: Mapping[str, str], edit: Edit, failing: Sequence[Example], known: Sequence[Example]
) -> bool | None:
    """True: with this edit every check holds; False: one does not; None: cannot be evaluated."""
    if _language(edit.path) != "py":
        return None
    changed = dict(sources) | {edit.path: edit.apply(sources[edit.path])}
    verdict = _holds(changed, failing)
    return verdict and _holds(changed, known) is not False


def _holds(sources: Mapping[str, str], examples: Sequence[Example]) -> bool | None:
    """Whether all examples that can be evaluated hold; None where none can."""
    trees = [t for p, s in sources.items() if _language(p) == "py" and (t := parse(s))]
    machine = Machine(trees)
    verdict: bool | None = None
    for example in examples[:20]:
        if example.call is None or example.want is None:
            continue
        if _name(example.call) not in {n for t in trees for n in functions_of(t)}:
            continue
        try:
            if machine.value(example.call) != machine.value(example.want):
                return False
            verdict = True
        except Unknown:
            continue
        except Exception:  # The evaluated code failed, as it would when run.
            return False
    return verdict


def _name(call: ast.Call) -> str:
    node = call.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _habit(edit: Edit, source: str, asked_for: Sequence[Example]) -> int:
    """How far down the list an edit belongs when nothing could be evaluated; 0 is first."""
    line = source.split("\n")[edit.line]
    asked = {n for e in asked_for for n in _NUMBER.findall(e.text)}
    boundary = bool(asked & set(_NUMBER.findall(line)))
    if frozenset((edit.old, edit.new)) in _TWINS:
        return 0 if boundary else 3
    first_choice = _SWAPS[edit.old][0] == edit.new
    return 1 if first_choice and edit.old[:1] not in "<>" else 2


def patch(path: str, before: str, after: str) -> str:
    """An apply_patch text that turns ``before`` into ``after``, each hunk with enough context."""
    old, new = before.split("\n"), after.split("\n")
    if old[-1:] == [""] and new[-1:] == [""]:
        old, new = old[:-1], new[:-1]
    for context in (3, 8, len(old)):
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        groups = list(matcher.get_grouped_opcodes(context))
        if all(_first(old, old[g[0][1] : g[-1][2]]) == g[0][1] for g in groups):
            break
    lines = ["*** Begin Patch", f"*** Update File: {path}"]
    for group in groups:
        lines.append("@@")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += [f" {text}" for text in old[i1:i2]]
            else:
                lines += [f"-{text}" for text in old[i1:i2]]
                lines += [f"+{text}" for text in new[j1:j2]]
    return "\n".join([*lines, "*** End Patch"]) + "\n"


def _first(lines: Sequence[str], part: Sequence[str]) -> int:
    return next(i for i in range(len(lines)) if list(lines[i : i + len(part)]) == list(part))
