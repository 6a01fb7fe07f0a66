"""The demo model's parts: reading failures, finding edits, evaluating, and the repositories."""

import subprocess
from pathlib import Path

import pytest

from shim.engines.bugs import BUGS, NoRepository, make_repo
from shim.engines.demo_edits import edits, patch
from shim.engines.demo_eval import Machine, Unknown, parse
from shim.engines.demo_failures import checks, failures


def test_failures_as_pytest_prints_them() -> None:
    output = """\
    def test_total():
>       assert total(10, 5) == 15
E       assert 5 == 15
E        +  where 5 = total(10, 5)

test_cart.py:4: AssertionError
FAILED test_cart.py::test_total - assert 5 == 15
"""
    [failure] = failures(output)
    assert failure.sentence() == "`total(10, 5)` should give `15` but gives `5`"


def test_edits_of_a_javascript_function_by_habit() -> None:
    source = "export function free(sum) {\n  // a > b\n  return sum > 50;\n}\n"
    test = "import assert from 'node:assert';\nassert.equal(free(50), true);\n"
    found = edits({"free.js": source}, [], checks(test), "free: false !== true")
    assert next(e.new for e in found) == ">="
    assert all(e.line == 2 for e in found)


def test_a_hunk_has_enough_context_to_be_found() -> None:
    before = "".join(
        f"def f{n}(a, b):\n    x = 1\n    y = 2\n    z = 3\n    return a - b\n\n\n"
        for n in range(3)
    )
    head, _, tail = before.rpartition("a - b")
    text = patch("x.py", before, f"{head}a + b{tail}")
    assert " def f2(a, b):" in text


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    while True: pass\n",
        "def f(x):\n    return f(x)\n",
        "def f(x):\n    return 'a' * 10**9\n",
        "def f(x):\n    return 9**9**9\n",
        "def f(x):\n    for a in range(9999):\n        for b in range(9999):\n            x += 1\n",
        "def f(x):\n    return __import__('os').getcwd()\n",
        "def f(x):\n    return open('/etc/passwd')\n",
        "def f(x):\n    return '%999999999d' % x\n",
    ],
)
def test_the_evaluator_gives_up_in_time(source: str) -> None:
    tree, call = parse(source), parse("f(1)")
    assert tree and call
    with pytest.raises(Unknown):
        Machine([tree]).value(call.body[0].value)  # type: ignore[attr-defined]


def test_make_repo_commits_and_refuses_a_used_folder(tmp_path: Path) -> None:
    for number, kind in enumerate(BUGS):
        folder = tmp_path / kind
        bug = make_repo(folder, number)
        assert bug.kind == kind and bug.wrong in bug.files[bug.source]
        log = subprocess.run(
            ["git", "log", "--format=%an %ae"],
            cwd=folder,
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        assert log == "Demo demo@example.invalid\n"
        red = subprocess.run(bug.test_command, shell=True, cwd=folder, capture_output=True)
        assert red.returncode == 1
    with pytest.raises(NoRepository, match="not empty"):
        make_repo(tmp_path)
    with pytest.raises(NoRepository, match="no such bug"):
        make_repo(tmp_path / "x", "nonsense")
