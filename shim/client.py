"""Who is calling, read off the request's headers. Source: codex-wire.md section 2."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from .turn import Turn

#: Headers that hold a credential: never written down, never sent to another provider.
CREDENTIALS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "set-cookie",
        "chatgpt-account-id",
        "openai-organization",
        "openai-project",
    }
)
#: A name with one of these words in it holds a credential as well (x-gateway-token, access_key).
_CREDENTIAL_WORDS = frozenset(
    {
        "authorization",
        "auth",
        "key",
        "apikey",
        "token",
        "secret",
        "password",
        "credential",
        "cookie",
    }
)
#: Shorter values under such names may be ordinary words.
_SURELY_SECRET = 12
_LOOPBACK = frozenset({"localhost", "::1", "0:0:0:0:0:0:0:1"})


def is_codex(headers: Mapping[str, str]) -> bool:
    """Whether Codex sent this request, whatever name its app-server client gave itself."""
    return (
        "x-codex-turn-metadata" in headers
        or "x-codex-window-id" in headers
        or headers.get("originator", "").lower().startswith("codex")
        or "codex" in headers.get("user-agent", "").lower()
    )


def given_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's own keys by the header that holds them: a bearer token, ``x-api-key``."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    found = {
        "authorization": value.strip() if kind.lower() == "bearer" else "",
        "x-api-key": headers.get("x-api-key", "").strip(),
    }
    return {name: key for name, key in found.items() if key}


@lru_cache(maxsize=1024)
def is_credential(name: str) -> bool:
    """Whether a header or query parameter of that name holds a credential."""
    name = name.lower()
    return name in CREDENTIALS or not _CREDENTIAL_WORDS.isdisjoint(re.split(r"[-_.]", name))


def secrets(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The values of all credentials among ``headers``, with and without their scheme."""
    found = set()
    for name, value in headers:
        sure = name.lower() in CREDENTIALS
        if sure or (is_credential(name) and len(value) >= _SURELY_SECRET):
            found |= {value, value.partition(" ")[2].strip() or value}
    return found


def hostname(authority: str) -> str:
    """The host of a Host header or authority: no port, no brackets, lower case."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    octets = host.removeprefix("::ffff:").split(".")
    numeric = len(octets) == 4 and all(o.isdigit() and int(o) < 256 for o in octets)
    return host in _LOOPBACK or host.endswith(".localhost") or (numeric and octets[0] == "127")


class Facts(msgspec.Struct, frozen=True):
    """Who asks. ``thread`` names the conversation and ``session`` what it belongs to; ``started``
    is when the thread began, in seconds since 1970, if its id tells; ``project`` is the folder the
    agent works in, if it is told; ``key`` is a digest of the client's key."""

    client: str = ""
    project: str = ""
    thread: str = ""
    session: str = ""
    key: str = ""
    started: float | None = None


#: What a user agent begins with, and whose it is.
_AGENTS = {
    "claude-cli": "claude-code",
    "claude-code": "claude-code",
    "opencode": "opencode",
    "aider": "aider",
    "litellm": "litellm",
    "openai": "openai-sdk",
    "anthropic": "anthropic-sdk",
    "curl": "curl",
}
_THREADS = ("thread-id", "x-thread-id")
_SESSIONS = (
    "session-id",
    "x-claude-code-session-id",
    "x-session-id",
    "x-session-affinity",
    "x-conversation-id",
)
_TURN = re.compile(r'"turn_id"\s*:\s*"([^"\\]{1,100})"')
#: What agents write before the folder they work in, and what ends it there.
_FOLDERS = ((b"<cwd>", b"<"), (b"Working directory: ", b"\\n"), (b"working directory: ", b"\\n"))
_LONGEST_FOLDER = 4096


def facts_of(
    headers: Mapping[str, str], turn: Turn, key: str = "", *, project: bool = True
) -> Facts:
    """Who sent ``turn``, as far as ``headers`` (lower-case names) and the prompt tell.

    A client that names no thread gets one from how its conversation begins. Without ``project``
    the prompt is not searched for the folder.
    """
    thread = _first(headers, _THREADS)
    session = _first(headers, _SESSIONS) or thread
    if not thread:
        thread = f"{session or key}:{_beginning(turn)}"
    return Facts(
        client=client_name(headers),
        project=_project(headers, turn.body) if project else "",
        thread=thread,
        session=session or thread,
        key=key,
        started=began(thread),
    )


def conversation(headers: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """The ids of session, thread and turn that the client itself names."""
    thread = _first(headers, _THREADS) or None
    metadata = _TURN.search(headers.get("x-codex-turn-metadata", ""))
    return _first(headers, _SESSIONS) or thread, thread, metadata[1] if metadata else None


def session_mark(headers: Mapping[str, str], turn: Turn, facts: Facts | None) -> str:
    """An id of the conversation for a provider: the same for all its turns, and not the client's
    own."""
    facts = facts or facts_of(headers, turn, project=False)
    return hashlib.blake2b(facts.thread.encode(), digest_size=16).hexdigest()


def client_name(headers: Mapping[str, str]) -> str:
    """The client's name: codex, claude-code, opencode, aider, openai-sdk, …; other."""
    if is_codex(headers):
        return "codex"
    agent = headers.get("user-agent", "").lower()
    return next((name for head, name in _AGENTS.items() if agent.startswith(head)), "other")


def began(thread: str) -> float | None:
    """When a thread began whose id is a UUID of version 7, as Codex's are; None for others."""
    digits = thread.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return int(digits[:12], 16) / 1000
    except ValueError:
        return None


def _first(headers: Mapping[str, str], names: Iterable[str]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _beginning(turn: Turn) -> str:
    """A mark of the first instructions and the first thing said, which later turns repeat."""
    mark = hashlib.blake2b(digest_size=12)
    for item in turn.items[:4]:
        mark.update(b"%b\0" % item.content)
        if item.role == "user":
            break
    return mark.hexdigest()


def _project(headers: Mapping[str, str], body: bytes) -> str:
    metadata: Any = headers.get("x-codex-turn-metadata", "")
    if '"workspaces"' in metadata:
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError):
            metadata = None
        folders = metadata.get("workspaces") if isinstance(metadata, dict) else None
        if isinstance(folders, dict) and folders:
            return str(next(iter(folders))).encode("utf-8", "replace").decode()
    for before, after in _FOLDERS:
        at = body.find(before)
        if at >= 0:
            at += len(before)
            raw = body[at : at + _LONGEST_FOLDER].partition(after)[0]
            try:
                return str(msgspec.json.decode(b'"%b"' % raw.partition(b'"')[0]))
            except ValueError:
                # Cut off in the midst of a character, or half a surrogate pair.
                return ""
    return ""
