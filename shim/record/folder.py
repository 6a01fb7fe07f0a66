"""Where recordings go when nobody says otherwise."""

from __future__ import annotations

from pathlib import Path

from ..codex.where import state_folder

_ROOT = Path(__file__).resolve().parents[2]


def default_folder() -> Path:
    """``flows/local`` of a checkout; for an installed package the user's own state folder."""
    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT / "flows" / "local"
    return state_folder() / "flows"
