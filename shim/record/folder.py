"""Where recordings go when nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def default_folder() -> Path:
    """``flows/local`` of a checkout; for an installed package the user's own state folder."""
    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT / "flows" / "local"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "interpose" / "flows"
