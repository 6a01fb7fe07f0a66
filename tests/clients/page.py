"""What docs/clients.md tells people to set: the clients in the tests are run by just that."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from tests.clients.work import CLIENT_KEY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
ORIGIN, KEY = "http://127.0.0.1:8790", "$(interpose ensure)"


def block(title: str, kind: str, number: int = 0) -> str:
    """The fenced text of that kind under a heading of the page."""
    section = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M)
    (text,) = (part for part in section if part.startswith(f"{title}\n"))
    found = re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)
    return str(found[number])


def shell(title: str, origin: str, number: int = 0) -> tuple[dict[str, str], list[str]]:
    """The variables of a block and the words of its command, for a chain at `origin`."""
    env: dict[str, str] = {}
    command: list[str] = []
    for line in block(title, "bash", number).replace(ORIGIN, origin).splitlines():
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            env[name] = CLIENT_KEY if value == KEY else value
        else:
            command = words
    return env, command


def opencode_config(npm: str, origin: str) -> dict[str, Any]:
    """The page's `opencode.json`, with another package and for a chain at `origin`."""
    assert f"`{npm}`" in block_rows("OpenCode"), f"{npm} is not on the page"
    config: dict[str, Any] = json.loads(block("OpenCode", "json").replace(ORIGIN, origin))
    provider = config["provider"]["interpose"]
    provider["npm"] = npm
    provider["options"]["apiKey"] = CLIENT_KEY
    return config


def block_rows(title: str) -> str:
    """The rows of the tables under a heading."""
    section = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M)
    (text,) = (part for part in section if part.startswith(f"{title}\n"))
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))
