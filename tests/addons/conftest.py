"""Chains under a test master keep their state in a folder of the test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def state_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPOSE_HOME", str(tmp_path_factory.mktemp("state")))
