"""Throw-away repositories with one bug each, for the first-run tour and the end-to-end tests.

Every kind has its bug in another file, in another wrong operator, and reports it by another test
runner; all run with nothing but `python3` or `sh`. `python3 -B` writes no bytecode, so a patch in
the same second as a test run is not hidden by a stale `.pyc`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DATE = 1_767_225_600  # 2026-01-01T00:00:00Z: the same commit id on every machine


class NoRepository(RuntimeError):
    """The repository could not be made; the text says why, in one line."""


@dataclass(frozen=True)
class Bug:
    """A buggy repository: what to ask for, how to test it, what is in it and what is wrong.

    ``files`` maps each path to its text; ``source`` is the file with the bug, where ``wrong`` has
    to become ``right`` (whole lines); both are "" where no single operator is to blame.
    """

    kind: str
    prompt: str
    test_command: str
    files: Mapping[str, str]
    source: str
    wrong: str = ""
    right: str = ""


_CART = Bug(
    kind="unittest",
    prompt="The tests fail. Find the bug, fix it, and run the tests again.",
    test_command="python3 -B -m unittest",
    source="cart.py",
    wrong="    return subtotal(lines) - shipping - discount",
    right="    return subtotal(lines) + shipping - discount",
    files={
        "README.md": """\
# cart

Prices of a shopping cart, in cents.

Run the tests: `python3 -B -m unittest`
""",
        "cart.py": '''\
"""Prices of a shopping cart, in cents."""


def subtotal(lines):
    """The sum of price times quantity over (price, quantity) pairs."""
    amount = 0
    for price, quantity in lines:
        amount += price * quantity
    return amount


def total(lines, shipping=0, discount=0):
    """What the customer pays: the goods and the shipping, less the discount."""
    return subtotal(lines) - shipping - discount
''',
        "test_cart.py": '''\
"""What a customer pays."""

import unittest

from cart import subtotal, total


class CartTest(unittest.TestCase):
    def test_subtotal(self):
        self.assertEqual(subtotal([(250, 2), (100, 1)]), 600)

    def test_discount(self):
        self.assertEqual(total([(1000, 1)], discount=100), 900)

    def test_shipping(self):
        self.assertEqual(total([(250, 2)], shipping=490), 990)


if __name__ == "__main__":
    unittest.main()
''',
    },
)

_FARES = Bug(
    kind="doctest",
    prompt="One of the documented examples is wrong in practice. Please fix the code, not the "
    "example, and check that all examples pass.",
    test_command="python3 -B -m doctest tests/fares.txt",
    source="tickets/fares.py",
    wrong="    if age < CHILD_UP_TO:",
    right="    if age <= CHILD_UP_TO:",
    files={
        "README.md": """\
# tickets

Fares of a small railway. The examples in `tests/fares.txt` are its tests:

    python3 -B -m doctest tests/fares.txt
""",
        "tickets/__init__.py": '"""Fares of a small railway."""\n',
        "tickets/fares.py": '''\
"""Who pays what, in cents."""

CHILD_UP_TO = 12
SENIOR_FROM = 65


def is_reduced(age):
    """Children and seniors travel at the reduced fare."""
    if age < CHILD_UP_TO:
        return True
    return age >= SENIOR_FROM


def fare(distance, age):
    """The price of a ticket: 20 cents per kilometre, half of it at the reduced fare."""
    price = distance * 20
    if is_reduced(age):
        price = price // 2
    return price
''',
        "tests/fares.txt": """\
Fares
=====

    >>> from tickets.fares import fare, is_reduced

Adults pay 20 cents per kilometre:

    >>> fare(100, 30)
    2000

Children up to twelve and seniors pay half of it:

    >>> fare(100, 7)
    1000
    >>> is_reduced(12)
    True
    >>> is_reduced(65)
    True
""",
    },
)

_BACKUP = Bug(
    kind="shell",
    prompt="The test suite is red since the last change. Fix the bug and show me that it is green.",
    test_command="sh tests/run.sh",
    source="lib/retention.sh",
    wrong='    if [ "$1" -gt 30 ] || [ "$2" = no ]; then',
    right='    if [ "$1" -gt 30 ] && [ "$2" = no ]; then',
    files={
        "README.md": """\
# backup retention

Which backups may be deleted. Test with `sh tests/run.sh`.
""",
        "lib/retention.sh": """\
# Which backups may be deleted.

# may_delete AGE_IN_DAYS PINNED: older than 30 days and not pinned.
may_delete() {
    if [ "$1" -gt 30 ] || [ "$2" = no ]; then
        echo yes
    else
        echo no
    fi
}
""",
        "tests/run.sh": """\
# Checks lib/retention.sh and reports in TAP.
. "$(dirname "$0")/../lib/retention.sh"

count=0
failed=0

check() { # EXPECTED FUNCTION ARGS...
    expected=$1
    shift
    got=$("$@")
    count=$((count + 1))
    if [ "$got" = "$expected" ]; then
        echo "ok $count - $*"
    else
        failed=$((failed + 1))
        echo "not ok $count - $*"
        echo "#   expected: $expected"
        echo "#   got:      $got"
    fi
}

echo 1..4
check yes may_delete 31 no
check no may_delete 31 yes
check no may_delete 5 no
check no may_delete 5 yes
[ "$failed" -eq 0 ]
""",
    },
)

_HOPELESS = Bug(
    kind="hopeless",
    prompt="The tests fail. Find the bug, fix it, and run the tests again.",
    test_command="sh tests/run.sh",
    source="lib/retention.sh",
    files=_BACKUP.files
    | {  # type: ignore[operator]
        "tests/run.sh": _BACKUP.files["tests/run.sh"].replace(
            "check no may_delete 5 no", "check perhaps may_delete 5 no"
        ),
    },
)

#: The kinds that one operator fixes, in the order of `make_repo(folder, 0)`, `1`, `2`.
BUGS: tuple[str, ...] = ("unittest", "doctest", "shell")
_ALL = {bug.kind: bug for bug in (_CART, _FARES, _BACKUP, _HOPELESS)}


def make_repo(folder: Path, kind: int | str = 0) -> Bug:
    """Write the repository ``kind`` into ``folder`` (made if need be, must be empty) and commit it.

    ``kind`` is a name of `BUGS`, an index into it (any integer, modulo), or ``"hopeless"``: a test
    that no change of an operator satisfies. Raises NoRepository.
    """
    name = BUGS[kind % len(BUGS)] if isinstance(kind, int) else kind
    bug = _ALL.get(name)
    if bug is None:
        raise NoRepository(f"no such bug: {name!r}; there are {', '.join(_ALL)}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise NoRepository(f"{folder} is not empty")
    for path, text in bug.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        os.utime(target, (_DATE, _DATE))
    _commit(folder)
    return bug


def _commit(folder: Path) -> None:
    """One commit by a local identity, whatever the machine's own git settings are."""
    git = shutil.which("git")
    if git is None:
        raise NoRepository("git was not found on PATH; it is needed for the throw-away repository")
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": f"{_DATE} +0000",
        "GIT_COMMITTER_DATE": f"{_DATE} +0000",
    }
    for command in (
        ["-c", "init.defaultBranch=main", "init", "--quiet"],
        ["config", "user.name", "Demo"],
        ["config", "user.email", "demo@example.invalid"],
        ["add", "--all"],
        ["commit", "--quiet", "--no-verify", "-m", "A small library with its tests"],
    ):
        done = subprocess.run([git, *command], cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise NoRepository(f"git {command[-1]} failed in {folder}: {reason[0]}")
