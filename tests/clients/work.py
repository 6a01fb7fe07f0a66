"""The work every client is given, and the model that does it by the client's own tools.

A repository has one wrong operator and a test that says so. The model reads the file, edits what it
has read, runs the test and reports; it stops with the reason when a step did not give what it must.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.clients.brains import Brain, Move, View
from tests.clients.thoughts import thoughts
from tests.e2e.test_codex_loop import bug_with_test

PROMPT = "The test fails. Fix the bug."
TEST = "python3 -m unittest -q test_prices"
WRONG, RIGHT = "price + count", "price * count"
REPORT = "The bug is fixed and the test passes."

make_project = bug_with_test

PATCH = f"""*** Begin Patch
*** Update File: prices.py
@@
-    return {WRONG}
+    return {RIGHT}
*** End Patch"""

#: Per client, the calls that read the file, edit it and run the test; `{file}` is its path.
HANDS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "claude-code": [
        ("Read", {"file_path": "{file}"}),
        ("Edit", {"file_path": "{file}", "old_string": WRONG, "new_string": RIGHT}),
        ("Bash", {"command": TEST, "description": "Runs the test"}),
    ],
    "opencode": [
        ("read", {"filePath": "{file}"}),
        ("edit", {"filePath": "{file}", "oldString": WRONG, "newString": RIGHT}),
        ("bash", {"command": TEST, "description": "Runs the test"}),
    ],
    "codex": [
        ("exec_command", {"cmd": "cat {file}"}),
        ("apply_patch", {"input": PATCH}),
        ("exec_command", {"cmd": TEST}),
    ],
}
#: What the output of each step must hold.
MUST = [WRONG, "", "OK"]


def worker(client: str, project: Path, thinks_in: str = "") -> Brain:
    """The model at work in `project`; before each step it thinks, where a protocol is named."""
    file = str(project / "prices.py")
    steps = [
        (name, {key: value.replace("{file}", file) for key, value in given.items()})
        for name, given in HANDS[client]
    ]

    def brain(view: View) -> Move:
        if not {name for name, _ in steps} <= view.tools.keys():
            return Move("Fixing prices")  # a title for the session, asked beside the work
        step = len(view.done)
        for done, must in zip(view.done, MUST, strict=False):
            if done.failed or must not in done.output:
                return Move(f"{done.name} gave: {done.output}")
        says = ["I read the file.", "The operator is wrong.", "Now the test.", REPORT][step]
        thinking = thoughts(thinks_in, step) if thinks_in else []
        return Move(says, steps[step : step + 1], thinking)

    return brain


def assert_fixed(project: Path) -> None:
    """The file is right, and its own test says so."""
    assert RIGHT in (project / "prices.py").read_text()
    again = [sys.executable, "-m", "unittest", "-q", "test_prices"]
    assert subprocess.run(again, cwd=project, capture_output=True, timeout=30).returncode == 0


def policy(url: str, protocol: str) -> str:
    """A policy with one provider, which answers for every model name."""
    return f"""
providers:
  provider: {{ base_url: "{url}/v1", protocol: {protocol}, key: {PROVIDER_KEY} }}
models:
  the-model: {{ provider: provider, model: upstream-model, reasoning: [low, medium, high] }}
default: the-model
"""


PROVIDER_KEY = "sk-provider-11111111"
CLIENT_KEY = "sk-client-000000000000"
