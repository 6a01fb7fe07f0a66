"""A ChatGPT login that nobody has: an auth.json as Codex writes it, with tokens nobody signed."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

ACCOUNT = "11111111-2222-4333-8444-555555555555"
REFRESH = "refresh-token-that-only-codex-may-use"


def token(seconds: float = 3600, name: str = "user-1") -> str:
    """A JWT that ends ``seconds`` from now."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iat": now,
        "exp": now + int(seconds),
        "sub": name,
        "https://api.openai.com/auth": {
            "chatgpt_plan_type": "plus",
            "chatgpt_account_id": ACCOUNT,
            "chatgpt_user_id": name,
        },
        "https://api.openai.com/profile": {"email": "user@example.invalid"},
    }
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    made = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*made, "c2ln"])


def log_in(home: Path, access: str | None = None) -> str:
    """Write ``auth.json`` into the folder ``home``; the access token."""
    access = access or token()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    tokens = {
        "id_token": token(name="id"),
        "access_token": access,
        "refresh_token": REFRESH,
        "account_id": ACCOUNT,
    }
    file = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": stamp}
    home.mkdir(parents=True, exist_ok=True)
    (home / "auth.json").write_text(json.dumps(file))
    return access
