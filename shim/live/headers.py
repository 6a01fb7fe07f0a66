"""The headers of a page that loads nothing, runs no script but its own, and stands in no frame."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256


def page_headers(style: str, script: str | None = None) -> dict[str, str]:
    """For a page with that style and that script in it, each named by its hash."""
    policy = {
        "default-src": "'none'",
        "script-src": "'none'" if script is None else _hash(script),
        "style-src": _hash(style),
        "connect-src": "'none'" if script is None else "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-store",
        # With `no-referrer` a browser sends a form's Origin as null, even to its own site.
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
