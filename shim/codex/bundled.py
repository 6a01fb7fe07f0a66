"""The models that the user's own Codex brings along, as it lists them itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .find import CodexMissing
from .where import without_proxy

#: Seconds for a program that only prints what it has in itself.
_PATIENCE = 20.0


def bundled(client: Path, home: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    """The entries of ``client``'s bundled catalog; ``home`` is a CODEX_HOME it may write into.

    CodexMissing when it does not tell.
    """
    try:
        done = subprocess.run(
            [str(client), "debug", "models", "--bundled"],
            env={**without_proxy(env), "CODEX_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        found = json.loads(done.stdout)["models"]
    except subprocess.TimeoutExpired:
        raise CodexMissing(f"{client} does not list its models within {_PATIENCE:.0f} s") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise CodexMissing(f"{client} does not list its models: {type(e).__name__}") from None
    return [entry for entry in found if isinstance(entry, dict) and "slug" in entry]
