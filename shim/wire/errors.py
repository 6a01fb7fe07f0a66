"""What an upstream's failure says: the provider's own words, when to retry, whether it can help.

Providers put the message in half a dozen places; a table of places beats a branch per provider.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

from ..shown import short
from ..turn import Failure
from . import address
from .address import Endpoint
from .characters import whole
from .lenient import Unreadable, text_of
from .paths import PATHS

#: Above this many seconds waiting is the user's decision, not a client's loop.
LONGEST_WAIT = 60.0

#: What names more seconds than this, a hundred years, names no wait.
_LONGEST_NAMED = 100 * 365 * 86400.0

#: Characters of a provider's message; some send the whole prompt back.
_LONGEST_MESSAGE = 2000
#: And of one that stands between brackets.
_LONGEST_ASIDE = 300
#: Characters of a body that is no JSON.
_LONGEST_PLAIN = 500

_RETRY_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_NO_QUOTA = ("insufficient_quota", "usage_limit_reached", "billing", "insufficient_balance")
_CONTEXT = re.compile(
    r"context[_ ]length|context window|maximum context|prompt is too long|too many tokens"
    r"|input is too long|exceeds the (?:model's )?(?:maximum|limit) .{0,40}tokens",
    re.I,
)
_AGAIN = re.compile(
    r"(?:try again|retry|wait)\D{0,20}?((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|h(?:ours?)?"
    r"|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)\s*)+)",
    re.I,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|h|m|s)", re.I)
_UNIT = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.I | re.S)
_QUERY = re.compile(r"\?[\w.~%-]+=[^\s)\"'<>]*")
_TAG = re.compile(r"<(script|style).*?</\1>|<[^>]+>", re.I | re.S)


def http_failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    upstream: str,
    endpoint: Endpoint | None = None,
) -> Failure:
    """The Failure of an answer that is no success: any status, any body, JSON or not.

    ``headers`` has lower-case names. ``upstream`` names the provider in the sentence; ``endpoint``
    is what was asked, which is named where it is the likely cause.
    """
    data = _json(body)
    message, code, kind = _words(data)
    page = False
    if not message:
        message = _plain(body, headers.get("content-type", ""))
        page = _is_page(body, headers.get("content-type", ""))
    if 300 <= status < 400 and (target := headers.get("location")):
        message = _redirects(target, endpoint)
    if endpoint and _astray(status, body, data, message, page, endpoint):
        return _nowhere(status, message, code, kind, upstream, endpoint)
    delay = _delay(headers, data, message)
    if 200 <= status < 300:
        said = f": {_readable(message)}" if message else ""
        what = "an empty answer" if not body.strip() else f"no model answer{said}"
        return Failure(
            f"{upstream} sent {what} (HTTP {status})",
            status,
            code,
            kind,
            delay,
            retry=not body.strip(),
        )
    return classify(message or "no message", status, code, kind, delay, upstream)


def _astray(
    status: int, body: bytes, data: Any, message: str, page: bool, endpoint: Endpoint
) -> bool:
    """Whether an answer says that nothing is at the address; some say it with a success."""
    if status in address.NOWHERE:
        return address.likely(endpoint, data, message, page=page)
    return 200 <= status < 300 and bool(body.strip()) and address.lost(message, page=page)


def _nowhere(
    status: int, message: str, code: str, kind: str, upstream: str, endpoint: Endpoint
) -> Failure:
    words = _QUERY.sub("", short(_readable(message), _LONGEST_ASIDE))
    words = words.removeprefix(f"{status} ").strip()
    gave = f"gave {status}" if status in address.NOWHERE else f"gave {status}, but no model answer"
    sentence = f"{upstream}: POST {endpoint.url} {gave} ({words or 'no message'})"
    if advice := address.advice(endpoint):
        sentence += f"; {advice}"
    return Failure(sentence, status, code, kind, address=True)


def _redirects(target: str, endpoint: Endpoint | None) -> str:
    """What a redirect says; the address to write has no endpoint in it."""
    if endpoint:
        target = urljoin(endpoint.url, target)
    target = address.shown(target) if "://" in target else target.partition("?")[0]
    base = target.rstrip("/").removesuffix(PATHS[endpoint.protocol]) if endpoint else target
    give = "that address" if base == target else base
    return f"it redirects to {target}; give {give} as base_url"


def event_failure(data: Mapping[str, Any], upstream: str) -> Failure:
    """The Failure that an error event inside a 200 stream tells of."""
    message, code, kind = _words(data)
    error = data.get("error")
    inner = error if isinstance(error, dict) else data
    status = next(
        (
            s
            for k in ("status_code", "status", "code")
            if isinstance(s := inner.get(k), int) and 400 <= s < 600
        ),
        0,
    )
    delay = _delay({}, data, message)
    return classify(message or "no message", status, code, kind, delay, upstream)


def classify(
    message: str, status: int, code: str, kind: str, delay: float | None, upstream: str
) -> Failure:
    """Whether to retry, and whether the context is full, from what a provider said."""
    tags = f"{code} {kind}".lower()
    context = status in (0, 400, 413, 422) and bool(
        "context_length" in tags or _CONTEXT.search(message)
    )
    quota = any(word in tags for word in _NO_QUOTA)
    if status:
        retry = status in _RETRY_STATUS
    else:
        retry = not any(w in tags for w in ("invalid_request", "authentication", "permission"))
    if delay is not None and delay > LONGEST_WAIT:
        retry = False
    said = f"{upstream}: {_readable(message)}" + (f" (HTTP {status})" if status else "")
    return Failure(said, status, code, kind, delay, retry and not quota and not context, context)


def _json(body: bytes) -> Any:
    try:
        return whole(body)[0]
    except Unreadable:
        return None


def _words(data: Any) -> tuple[str, str, str]:
    """(message, code, type) from the places where providers put them."""
    if isinstance(data, list) and data:
        data = data[0]
    if isinstance(data, str):
        return data, "", ""
    if not isinstance(data, dict):
        return "", "", ""
    error = data.get("error")
    if isinstance(error, str):
        return error, text_of(data.get("code")), ""
    inner = error if isinstance(error, dict) else data
    message = inner.get("message") or inner.get("detail") or inner.get("msg")
    if isinstance(message, list):
        message = "; ".join(text_of(_dig(m, ("msg", "message"))) for m in message)
    meta = inner.get("metadata")
    raw = meta.get("raw") if isinstance(meta, dict) else None
    if isinstance(raw, str) and raw and raw not in str(message):
        # OpenRouter wraps the words of the provider behind it.
        message = f"{message}: {_words(_json(raw.encode()))[0] or raw}"
    kind = inner.get("type") or inner.get("status")
    if kind == "error":
        kind = ""
    return text_of(message), text_of(inner.get("code")), text_of(kind)


def _dig(value: Any, names: Iterable[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return next((value[n] for n in names if value.get(n)), "")


def _is_page(body: bytes, content_type: str) -> bool:
    """Whether a body is HTML."""
    return "html" in content_type or body.lstrip()[:1] == b"<"


def _plain(body: bytes, content_type: str) -> str:
    text = short(body[:80_000].decode("utf-8", "replace").strip(), 20_000)
    if _is_page(body, content_type):
        titles = " - ".join(dict.fromkeys(m.group(2).strip() for m in _TITLE.finditer(text)))
        text = titles or text
        text = html.unescape(_TAG.sub(" ", text))
    return short(" ".join(text.split()), _LONGEST_PLAIN)


def _readable(message: str) -> str:
    """``message`` without control characters, which a terminal would obey, and not without end."""
    text = short(message, _LONGEST_MESSAGE)
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def seconds(text: str) -> float | None:
    """``6m0s``, ``1.5s``, ``250ms`` or a plain number of seconds; None for anything else."""
    text = text.strip()
    try:
        delay = float(text)
    except ValueError:
        parts = _PART.findall(text)
        delay = sum(float(n) * _UNIT[u.lower()] for n, u in parts) if parts else math.nan
    return max(0.0, delay) if delay < _LONGEST_NAMED else None


def _delay(headers: Mapping[str, str], data: Any, message: str) -> float | None:
    """How long the provider asks to wait, in seconds: the most exact source first."""
    if (ms := headers.get("retry-after-ms")) and (s := seconds(ms)) is not None:
        return s / 1000
    if after := headers.get("retry-after"):
        if (s := seconds(after)) is not None and not re.search(r"[A-Za-z]{3},", after):
            return s
        return _until(after, headers.get("date"))
    error = data.get("error") if isinstance(data, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        wait = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(wait, str):
            return seconds(wait)
    if match := _AGAIN.search(message):
        return seconds(match.group(1))
    # Reset times stand on every answer of these providers: they count only when nothing is left.
    for limit in ("requests", "tokens"):
        left = headers.get(f"x-ratelimit-remaining-{limit}")
        reset = headers.get(f"x-ratelimit-reset-{limit}")
        if left == "0" and reset:
            return seconds(reset)
    return None


def _until(date: str, now: str | None) -> float | None:
    """Seconds from the answer's own Date to ``date``: no clock of ours is involved."""
    try:
        end = parsedate_to_datetime(date)
        wait = max(0.0, (end - parsedate_to_datetime(now or "")).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
    return wait if wait < _LONGEST_NAMED else None
