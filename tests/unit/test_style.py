"""The house rules a machine can check: ruff, mypy, who imports what, file lengths, docstrings."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = sorted(path for folder in ("shim", "addons") for path in (ROOT / folder).rglob("*.py"))
OTHER = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """The modules a file imports by an absolute name, their first part only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def checked(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_ruff() -> None:
    assert not checked("ruff", "check", "--quiet", ".")


def test_mypy() -> None:
    assert not checked("mypy")


def test_shim_knows_no_mitmproxy_and_imports_itself_relatively() -> None:
    # In a wheel the package is interpose.shim, and `import shim` would find nothing.
    shim = [path for path in SOURCE if path.is_relative_to(ROOT / "shim")]
    assert shim
    guilty = {name(path): imports(path) & {"mitmproxy", "shim", "addons"} for path in shim}
    assert {path: what for path, what in guilty.items() if what} == {}


def test_a_file_is_one_thing_and_says_which() -> None:
    for path in SOURCE + OTHER:
        text = path.read_text("utf-8")
        assert text.count("\n") <= 400, f"{name(path)} is too long to be one thing"
        if text.strip():
            assert ast.get_docstring(ast.parse(text)), f"{name(path)} has no docstring at the top"


def test_the_chain_is_all_there_is_in_main() -> None:
    tree = ast.parse((ROOT / "addons" / "main.py").read_text("utf-8"))
    kinds = {type(node) for node in tree.body}
    assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}
