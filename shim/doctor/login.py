"""``auth.json``: whether Codex is logged in, how, and until when; never what is in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .finding import Finding, Section

_AGAIN = "`codex login`"


def login(
    raw: bytes | None, path: Path, mode: int | None, needed: bool, now: float
) -> list[Finding]:
    """``mode`` are the file's permission bits, where it has such; ``needed`` says that the provider
    in use asks for a login."""
    section = Section("Login")
    if raw is None:
        if needed:
            section.fail(
                f"{path} is not there, and the provider in use wants a login"
                " (requires_openai_auth)",
                _AGAIN,
            )
        else:
            section.ok("not logged in to OpenAI; no other provider needs that")
        return section.found
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        section.fail(f"{path} is not JSON that can be read", f"delete it, then {_AGAIN}")
        return section.found
    tokens = data.get("tokens") if isinstance(data.get("tokens"), dict) else {}
    if isinstance(tokens, dict) and tokens.get("access_token"):
        _chatgpt(section, tokens, now)
    elif data.get("OPENAI_API_KEY"):
        section.ok("logged in with an API key")
    elif needed:
        section.fail(f"{path} holds no login, and the provider in use wants one", _AGAIN)
    else:
        section.ok(f"{path} holds no login; no other provider needs one")
    if mode is not None and mode & 0o077:
        section.warn(f"other users may read {path}", f"`chmod 600 {path}`")
    return section.found


def _chatgpt(section: Section, tokens: Mapping[str, Any], now: float) -> None:
    ends = expiry(tokens.get("access_token"))
    if ends is None:
        section.ok("logged in with ChatGPT; the token does not say until when")
        return
    until = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if ends > now:
        section.ok(f"logged in with ChatGPT, until {until}")
    elif tokens.get("refresh_token"):
        section.ok(f"logged in with ChatGPT; the token ended {until}, Codex renews it by itself")
    else:
        section.warn(f"the ChatGPT login ended {until} and cannot be renewed", _AGAIN)


def expiry(token: Any) -> float | None:
    """When a JWT ends, in seconds since 1970; None when it does not say."""
    try:
        part = str(token).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        ends = float(claims["exp"])
        datetime.fromtimestamp(ends, UTC)
        return ends
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError):
        return None
