"""The chains that odd requests are sent to, and the three sentences that hold for each of them.

What the rules forbid is not sent; what is secret does not leave; every turn is in the journal with
an end. A chain's target is a trap; its provider keeps what it gets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from shim.record.asked import Asked
from shim.record.audit import exchanges, reading
from tests.e2e.answers import chat_turn, messages_turn, responses_turn
from tests.e2e.chain import Chain
from tests.e2e.odd_bodies import OWN_KEY, PATHS, PHRASE, SECRET, Odd
from tests.e2e.raw_http import Got, ask, request
from tests.e2e.searching import Search
from tests.e2e.trap import Trap
from tests.e2e.upstreams import Answer, Seen, Upstream

CHAIN_KEY = "client-key-Wx7Rt5Mn3Kp1Qz9Lj2"
PROVIDER_KEY = "sk-provider-Tg6Yh4Uj2Ik0Ol8Pm"

PROVIDERS = f"""
providers:
  responses: {{{{ base_url: "{{url}}/v1", protocol: responses, key: {PROVIDER_KEY} }}}}
  chat: {{{{ base_url: "{{url}}/v1", key: {PROVIDER_KEY} }}}}
  messages: {{{{ base_url: "{{url}}/v1", protocol: messages, key: {PROVIDER_KEY} }}}}
models:
  to-responses: {{{{ provider: responses, model: r, price: {{{{ input: 1, output: 1 }}}} }}}}
  to-chat: {{{{ provider: chat, model: c, price: {{{{ input: 1, output: 1 }}}} }}}}
  to-messages: {{{{ provider: messages, model: m, price: {{{{ input: 1, output: 1 }}}} }}}}
  same-responses: {{{{ provider: responses }}}}
  same-chat: {{{{ provider: chat }}}}
  same-messages: {{{{ provider: messages }}}}
default: to-chat
"""
_RULES = f"""
catch:
  - {{{{ name: heron, when: {{{{ text: {PHRASE} }}}}, refuse: The heron is off limits. }}}}
redact:
  - {{{{ name: keys, use: api-keys }}}}
"""
_MORE = {
    "dedup": "dedup: { min_lines: 2, min_bytes: 20 }\nrepair: {}\n",
    "cache": "cache: { ttl: 1h, key: always }\n"
    "tools: { web: { remove: true }, run: { rename: go, description: Goes. } }\n",
    "limits": """
limits:
  - { name: all, per: day, money: 1000 }
  - { name: pace, per: key, requests_per_minute: 100000, then: warn }
duplicates: refuse
""",
    "route": """
route:
  - { name: big, when: { larger_than: 5k }, to: [to-chat, to-messages] }
  - { name: pictures, when: { images: true }, to: to-responses }
  - { name: any, when: { text: hello }, to: { split: { to-chat: 1, to-messages: 1 } } }
auto:
  name: auto
  classifier: to-chat
  fallback: to-messages
  candidates:
    - { model: to-chat, card: Small things. }
    - { model: to-responses, card: Big things. }
""",
}
_ESCAPED = {name: text.replace("{", "{{").replace("}", "}}") for name, text in _MORE.items()}
POLICIES = {
    "plain": PROVIDERS,
    "rules": PROVIDERS + _RULES + "websocket: true\n",
    **{name: PROVIDERS + _RULES + text for name, text in _ESCAPED.items()},
    "everything": PROVIDERS + _RULES + "".join(_ESCAPED.values()),
}

TURNS = {"responses": responses_turn, "chat": chat_turn, "messages": messages_turn}
#: The ends of the paths of what is asked at a provider.
ENDS = {path.removeprefix("/v1"): protocol for protocol, path in PATHS.items()}


def provider(seen: Seen) -> Answer:
    """A good answer in the protocol of the path, whatever was sent."""
    protocol = next((p for end, p in ENDS.items() if seen.path.partition("?")[0].endswith(end)), "")
    if not protocol:
        return Answer(200, {"content-type": "application/json"}, [b'{"input_tokens": 3}'])
    try:
        asked = seen.json()
        stream = bool(asked.get("stream")) if isinstance(asked, dict) else False
    except ValueError:
        stream = False
    return TURNS[protocol]("fine", (), (), stream, str(seen.number))


@dataclass
class Result:
    """What came of one request: the answer, what the provider got, what the journal says."""

    odd: Odd
    model: str
    thread: str
    got: Got
    sent: list[Seen]
    trapped: bytes
    rows: list[dict[str, Any]] = field(default_factory=list)


class World:
    """A chain with a policy before a trap, and a provider in the policy; a context manager."""

    def __init__(self, policy: str, **more: Any) -> None:
        self.trap = Trap()
        self.upstream = Upstream(provider)
        text = POLICIES[policy].format(url=self.upstream.url)
        self.key = CHAIN_KEY
        #: What stands before the path of each request.
        self.base = ""
        self.chain = self.make_chain(text, more)
        self._number = 0

    def make_chain(self, policy: str, more: dict[str, Any]) -> Chain:
        """The chain before the trap, not started."""
        return Chain(self.trap.url, policy=policy, keys=[self.key], **more)

    def __enter__(self) -> Self:
        self.trap.__enter__()
        self.upstream.__enter__()
        self.chain.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.chain.__exit__(*exc)
        self.upstream.__exit__(*exc)
        self.trap.__exit__(*exc)

    def send(self, odd: Odd, model: str) -> Result:
        """One odd request, on a connection of its own."""
        self._number += 1
        thread = f"thread-{self._number:05d}"
        headers = [("authorization", f"Bearer {CHAIN_KEY}"), ("x-goog-api-key", OWN_KEY)]
        headers += [("thread-id", thread), ("content-type", "application/json"), *odd.headers]
        seen, trapped = len(self.upstream.seen), len(self.trap.bytes)
        got = ask(self.chain.port, request(self.base + odd.target, odd.body(model), headers))
        sent, caught = self.upstream.seen[seen:], self.trap.bytes[trapped:]
        return Result(odd, model, thread, got, sent, caught)

    def results(self, cases: Iterable[tuple[Odd, str]]) -> dict[tuple[str, str, str], Result]:
        """What comes of all of them, by protocol, name and model, the journal included."""
        results = [self.send(odd, model) for odd, model in cases]
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in self.journal():
            rows.setdefault(row["thread"], []).append(row)
        for result in results:
            result.rows = rows.get(result.thread, [])
        return {(r.odd.protocol, r.odd.name, r.model): r for r in results}

    def journal(self) -> list[dict[str, Any]]:
        """The journal's rows, once everything that has ended is written."""
        return journal(self.chain)


def journal(chain: Chain) -> list[dict[str, Any]]:
    """The rows of a chain's journal, once everything that has ended is written."""
    # The recorder takes what time the machine has left.
    key = {"x-api-key": CHAIN_KEY}
    page = f"{chain.origin}/health?exchanges=1"
    httpx.get(page, headers=key, timeout=120, trust_env=False).raise_for_status()
    if not any(chain.record_dir.glob("journal.db")):
        return []
    with reading(chain.record_dir) as file:
        return exchanges(file, Asked(), time.time())


def written(folder: Path) -> bytes:
    """All that a chain has written under its folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and "conf" not in path.parts]
    return b"\n".join(path.read_bytes() for path in sorted(files))


def told(chain: Chain, *secrets: str) -> list[str]:
    """Where a chain has written one of ``secrets``, packed or in pieces or not."""
    search = Search(dict.fromkeys(secrets, "a secret"))
    return search.folder(chain.folder, chain.policy_file)


# ---- what must hold ----


def check_sent(result: Result, *, rules: bool = True) -> None:
    """What the provider got may leave, and nothing has come to the trap."""
    assert result.trapped == b"", result.trapped[:300]
    for seen in result.sent:
        head = str(seen.headers) + seen.path
        assert seen.body, "an empty body"
        assert seen.body.lstrip()[:1] == b"{", seen.body[:80]
        for key in (CHAIN_KEY, OWN_KEY):
            assert key not in head and key.encode() not in seen.body, key
        assert PROVIDER_KEY in head and "x-interpose" not in head.lower()
        if rules:
            for what in (PHRASE, SECRET):
                assert what not in readable(seen.body), f"{what} was sent"


def readable(body: bytes) -> str:
    """A body as it reads: without escapes, JSON in JSON too."""
    text = body.decode("utf-8", "replace")
    return "\n".join((text, *_strings(text)))


def _strings(text: str) -> Iterable[str]:
    pairs: list[Any] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.extend(found)
        return dict(found)

    try:
        value = json.loads(text, object_pairs_hook=keep, strict=False)
    except (ValueError, RecursionError):
        return
    stack = [value, *(part for pair in pairs for part in pair)]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
            if value[:1] in '{["' and value != text:
                yield from _strings(value)
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()


def check_answer(result: Result, statuses: Iterable[int]) -> None:
    """The client's answer came whole, in its own protocol, with a status that fits."""
    got = result.got
    assert got.status in set(statuses), f"{got.status}: {got.text[:500]}"
    assert got.whole and got.seconds < 8, got
    if got.status >= 400:
        check_error(got, result.odd.protocol)


def check_error(got: Got, protocol: str) -> str:
    """An error's body is one of its protocol; its message."""
    assert got.headers.get("content-type") == "application/json", got
    said = got.json()
    error = said["error"]
    if protocol == "messages":
        assert said["type"] == "error" and set(said) >= {"type", "error"}, said
    else:
        assert set(error) >= {"message", "type", "param", "code"}, said
    assert error["message"] and error["type"], said
    return str(error["message"])


def check_journal(result: Result) -> None:
    """The turn is there once, with an end that says what the client was told."""
    assert len(result.rows) == 1, result.rows
    (row,) = result.rows
    assert row["state"] in ("ok", "failed"), row
    assert (row["state"] == "failed") == (result.got.status >= 400), (row, result.got.text[:300])
