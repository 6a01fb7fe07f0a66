"""What the tests with real clients share: everything here is `e2e`, each with its own project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.work import make_project

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository with a bug and a test that finds it."""
    folder = tmp_path / "project"
    make_project(folder)
    return folder
