"""docs/commands.md knows every command, and how each is called today."""

from __future__ import annotations

import pytest

from shim.cli import COMMANDS
from tests.e2e.commands import ENTRIES, HEAD, PAGE, masked, opening, sections

HOW = "INTERPOSE_WRITE_DOCS=1 pytest tests/e2e/test_commands.py writes it"


def test_every_command_has_its_entry() -> None:
    assert list(ENTRIES) == list(COMMANDS), "add the command to ENTRIES of tests/e2e/commands.py"
    assert all(entry.lines or entry.see for entry in ENTRIES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_says_how_it_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "96")
    found = sections(PAGE.read_text("utf-8"))
    assert list(found) == list(COMMANDS), HOW
    called, said = found[name]
    # Where lines break differs between versions of Python.
    assert called.split() == opening(name).split(), HOW
    lines = [line[2:] for line in said.splitlines() if line.startswith("$ ")]
    assert lines == list(ENTRIES[name].lines), HOW


def test_the_page_begins_as_it_should() -> None:
    assert PAGE.read_text("utf-8").startswith(HEAD), HOW


def test_what_differs_from_run_to_run_is_the_same_on_the_page() -> None:
    said = "process 12 ran\n 11-20 09:00:01  …0bb0bbebc4  200     1.73  21  a78f145e  \n"
    assert masked(said) == masked(said.replace("1.73", "0.05").replace("12", "7654"))
    assert "200     0.05" in masked(said)
