"""One random session: who asks what, what the upstreams do, under which policy. A value whose repr
can be put into a test as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fuzz.policy import Variant

#: Per protocol, where its turns are sent to.
PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}


@dataclass(frozen=True)
class Edit:
    """One thing done to JSON or to a stream: ``how``, ``at`` which of the places there are (it is
    taken modulo their number), and ``what`` comes there."""

    how: str
    at: int = 0
    what: int = 0


@dataclass(frozen=True)
class Story:
    """What a model says, in any protocol: (kind, text, more) with the kinds text, thought, refusal
    and call, of which text is the name and more the arguments. Texts come in pieces of ``piece``
    characters. ``usage`` are input and output tokens, None where nothing is told of them."""

    said: tuple[tuple[str, str, str], ...] = (("text", "hello", ""),)
    piece: int = 7
    usage: tuple[int, int] | None = (10, 4)
    finish: str = "stop"


@dataclass(frozen=True)
class Answer:
    """What an upstream does with a request. Its body is ``raw``, or the how-maniest ``recorded``
    stream of its protocol, or the ``story``; ``edits`` are then done to it.

    ``whole``: as one JSON object, whatever was asked for. ``end``: "whole", "broken" (the upstream
    goes in the middle, at that share of the body), "left" (the client does), "unreached".
    ``cuts`` are the sizes of its pieces, in turn.
    """

    story: Story = Story()
    recorded: int | None = None
    raw: bytes | None = None
    edits: tuple[Edit, ...] = ()
    whole: bool = False
    status: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ()
    kind: str = ""
    coding: str = ""
    end: str = "whole"
    share: float = 0.5
    cuts: tuple[int, ...] = (50,)


@dataclass(frozen=True)
class Exchange:
    """One request of a client, and what becomes of it upstream. ``who`` is a client of CLIENTS.
    ``overlaps``: the next exchange begins before this one is answered."""

    body: bytes = b""
    path: str = PATHS["responses"]
    who: str = "sdk-a"
    fields: tuple[tuple[str, str], ...] = ()
    answer: Answer = Answer()
    overlaps: bool = False
    method: str = "POST"


@dataclass(frozen=True)
class Case:
    """A session. ``keys``: the chain has client keys. ``target`` is the protocol of the reverse
    target, ``scores`` what auto's classifier says, ``limit`` the option body_limit."""

    exchanges: tuple[Exchange, ...] = ()
    variant: Variant = field(default_factory=Variant)
    keys: bool = False
    target: str = "responses"
    scores: str = '{"A": 0.9, "B": 0.1}'
    limit: str = "64m"
    recut: bool = field(default=False, compare=False)


#: Clients by name: the index of their key, and the header fields that tell who they are. The last
#: one calls itself what the first one does.
CLIENTS: dict[str, tuple[int, dict[str, str]]] = {
    "codex-a": (
        0,
        {
            "user-agent": "codex_exec/0.169.0",
            "originator": "codex_exec",
            "session-id": "0198c0de-0000-7000-8000-00000000000a",
            "thread-id": "0198c0de-0000-7000-8000-0000000000a1",
        },
    ),
    "codex-b": (
        1,
        {
            "user-agent": "codex_cli/0.169.0",
            "session-id": "0198c0de-0000-7000-8000-00000000000b",
            "thread-id": "0198c0de-0000-7000-8000-0000000000b1",
        },
    ),
    "claude-a": (
        0,
        {"user-agent": "claude-cli/2.1", "x-claude-code-session-id": "claude-session-a"},
    ),
    "sdk-a": (0, {"user-agent": "OpenAI/Python 2.1"}),
    "sdk-b": (1, {"x-session-id": "session-of-b"}),
    "posing-b": (
        1,
        {
            "user-agent": "codex_exec/0.169.0",
            "session-id": "0198c0de-0000-7000-8000-00000000000a",
            "thread-id": "0198c0de-0000-7000-8000-0000000000a1",
        },
    ),
}


def identity(case: Case, who: str) -> tuple[str, ...]:
    """By what the chain can tell one client from another."""
    number, fields = CLIENTS[who]
    named = fields.get("session-id") or fields.get("x-claude-code-session-id")
    named = named or fields.get("x-session-id", "")
    return (str(number) if case.keys else "", named)
