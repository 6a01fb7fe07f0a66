"""The values that a turn's stages hand on. Each is written by one stage and frozen after it.

A client's request becomes an `Access` (what it asks for), a turn an `Intake` (what came). The
stages make a `Decision` of it, in parts that have one writer each, and from that alone the
`UpstreamRequest` is built. What comes back ends as an `Outcome`. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from ..account.bill import Account
from ..client import Facts
from ..notes import Note
from ..policy.inforce import InForce
from ..policy.rules import Capabilities
from ..policy.schema import Provider
from ..route.choose import Route
from ..route.limits import Verdict
from ..turn import Failure, Turn, Usage
from ..wire.translate import Translation, Translator

#: Header fields as they stand on the wire.
Fields = tuple[tuple[bytes, bytes], ...]
#: What a request asks for: a turn, one of the chain's own pages, a stored response, the list of
#: models, a WebSocket for turns, or something that is no business of the chain's.
Kind = Literal["turn", "page", "stored", "models", "socket", "foreign"]
#: (scheme, host, port)
Endpoint = tuple[str, str, int]


def headers_of(fields: Fields) -> dict[str, str]:
    """Header fields as ``shim`` wants them: lower-case names, one value each."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in fields}


class ClientRequest(msgspec.Struct, frozen=True):
    """A request as the client sent it. ``headers`` has lower-case names and one value each;
    ``body`` is as it came on the wire, encoded or not, and empty until it has come, at
    ``received``.

    ``peer`` is the client's address, ``local`` the one it called; behind a trusted proxy the
    former, with ``authority`` and ``encrypted``, is what that says. ``reverse`` is the target of
    ``--mode reverse:URL``, None in a forward proxy; ``proxied``: the client thinks that it speaks
    to another host; ``encrypted``: it came by TLS. ``owner`` is a digest of the client key, where
    one was given.
    """

    id: str
    method: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str
    http_version: str
    fields: Fields
    headers: dict[str, str]
    peer: str
    local: Endpoint
    reverse: Endpoint | None
    started: float
    received: float = 0.0
    encrypted: bool = False
    body: bytes = b""
    proxied: bool = False
    owner: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last value of each."""
        return dict(parse_qsl(self.path.partition("?")[2], keep_blank_values=True))


class Access(msgspec.Struct, frozen=True):
    """What a request asks for, and the request without the client key that let it in. ``way`` is
    the proxy over which foreign traffic leaves, as (scheme, host, port). ``stranger``: a key is
    needed, and it came without one."""

    kind: Kind
    request: ClientRequest
    page: str = ""
    way: Endpoint | None = None
    stranger: bool = False


class Reply(msgspec.Struct, frozen=True):
    """An answer of the chain's own. ``failure`` says why, where it is not what was asked for.
    ``private``: it holds what lets its reader in, so nobody else may see or save it."""

    status: int
    headers: dict[str, str]
    body: bytes
    failure: Failure | None = None
    private: bool = False


class Intake(msgspec.Struct, frozen=True):
    """What came. ``turn`` is the client's own; ``counts``: only its tokens are asked for;
    ``compacts``: it came to the endpoint for compaction. ``codex``: only a stream of Responses can
    tell this client of a failure in its own way. ``dedupe_key`` says who asks, for duplicates and
    retries: the key first, then the conversation, then the address. ``keys`` are the policy's and
    the chain's own, ``secrets`` these and the client's credentials.
    """

    request: ClientRequest
    turn: Turn
    codex: bool
    counts: bool
    compacts: bool
    dedupe_key: str
    requested_capabilities: dict[str, Any]
    secrets: frozenset[str]
    keys: frozenset[str] = frozenset()

    @property
    def headers(self) -> dict[str, str]:
        """The request's, with lower-case names."""
        return self.request.headers


class Conversation(msgspec.Struct, frozen=True):
    """What a turn refers to. ``turn`` holds the whole conversation, ``own`` the input that the
    client sent now; ``ids`` are the stored responses that the rest came from, ``parent`` the last
    of them and its mark. ``missing``: this one is not stored here (any more).
    """

    turn: Turn
    own: msgspec.Raw
    ids: tuple[str, ...] = ()
    parent: tuple[str, str] | None = None
    missing: str | None = None


class Edits(msgspec.Struct, frozen=True):
    """What the policy made of the prompt. ``names`` maps what tools are called upstream to the
    client's names, ``masks`` what stands for a secret to the secret; ``saved`` characters are sent
    as references, ``saved_first`` of them for the first time."""

    facts: Facts | None = None
    changed: bool = False
    tags: frozenset[str] = frozenset()
    names: dict[str, str] = {}
    masks: dict[str, str] = {}
    saved: int = 0
    saved_first: int = 0


class Routing(msgspec.Struct, frozen=True):
    """Who answers. ``remaining`` are the candidates behind ``route``, ``attempted`` the labels of
    those before it. ``provider`` is the policy's entry, or that of an engine of the chain's own;
    ``headers`` are those that it asks for, its key among them. ``verbatim``: the client's own
    bytes pass, whatever the provider speaks. ``upstream`` and ``path`` are its address, ``hop`` is
    what is connected to: the upstream, or the proxy before it.
    """

    route: Route
    remaining: tuple[Route, ...] = ()
    attempted: frozenset[str] = frozenset()
    provider: Provider | None = None
    capabilities: Capabilities | None = None
    upstream: Endpoint = ("http", "", 0)
    hop: Endpoint = ("http", "", 0)
    path: str = ""
    headers: dict[str, str] = {}
    secrets: frozenset[str] = frozenset()
    verbatim: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What is to be done with the answer: ``stores`` it under its id; ``compacts``: it is a
    summary that becomes a compaction item."""

    stores: bool
    compacts: bool


class UpstreamRequest(msgspec.Struct, frozen=True):
    """All that leaves. ``via`` is the proxy over which it does, as (scheme, host, port)."""

    scheme: str
    host: str
    port: int
    method: str
    path: str
    fields: Fields
    body: bytes
    via: Endpoint | None = None

    @property
    def url(self) -> str:
        """The address that is asked, with its query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme] == self.port
        # A path may hold bytes that are no text.
        path = self.path.encode("utf-8", "replace").decode()
        return f"{self.scheme}://{host}{'' if usual else f':{self.port}'}{path}"


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a turn: the turn as it is now, and one part per stage. ``side_usage`` is what
    other models used while it was decided, by their names. ``transcoder`` reads the answer: what
    could not be answered is not sent."""

    turn: Turn
    notes: tuple[Note, ...] = ()
    side_usage: tuple[tuple[str, Usage], ...] = ()
    conversation: Conversation | None = None
    edits: Edits = Edits()
    verdicts: tuple[Verdict, ...] = ()
    routing: Routing | None = None
    plan: Plan | None = None
    translation: Translation | None = None
    transcoder: Translator | None = None
    upstream: UpstreamRequest | None = None

    def note(self, stage: str, code: str, text: str) -> Decision:
        """The same with one more note."""
        return msgspec.structs.replace(self, notes=(*self.notes, Note(stage, code, text)))

    def with_(self, **parts: Any) -> Decision:
        """The same with these parts."""
        return msgspec.structs.replace(self, **parts)

    @property
    def facts(self) -> Facts | None:
        """Who asks, as far as that was looked at."""
        return self.edits.facts

    @property
    def route(self) -> Route | None:
        """Who answers, once that is decided."""
        return self.routing.route if self.routing else None


class Head(msgspec.Struct, frozen=True):
    """An answer without its body; ``headers`` has lower-case names."""

    status: int
    reason: str
    http_version: str
    fields: Fields
    headers: dict[str, str]
    started: float


class Passage(msgspec.Struct, frozen=True):
    """How an answer goes on to the client. ``streams``: piece by piece, under these ``fields``;
    else it is looked at once it is whole. ``encoding`` is the content-encoding it comes in."""

    transcoder: Translator | None
    streams: bool
    fields: Fields
    encoding: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a turn. ``upstream`` is the head of the upstream's answer, ``received`` its
    body, ``passage`` how it goes on; ``sent`` is what the client got in pieces, ``reply`` what it
    gets in one.

    ``broke`` says why a connection ended before the answer did. ``response`` is the finished
    answer in the words of the Responses API, where it was read. ``account`` is what it cost;
    ``headers`` are added to what the client gets.
    """

    status: int
    ended: float = 0.0
    upstream: Head | None = None
    passage: Passage | None = None
    received: tuple[bytes, ...] = ()
    sent: tuple[bytes, ...] = ()
    reply: Reply | None = None
    failure: Failure | None = None
    broke: str | None = None
    usage: Usage | None = None
    calls: int = 0
    response: dict[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    first_byte: float | None = None
    overhead: float = 0.0
    account: Account | None = None
    headers: dict[str, str] = {}

    def with_(self, **parts: Any) -> Outcome:
        """The same with these parts."""
        return msgspec.structs.replace(self, **parts)

    def note(self, stage: str, code: str, text: str) -> Outcome:
        """The same with one more note."""
        return self.with_(notes=(*self.notes, Note(stage, code, text)))


class Ended(msgspec.Struct, frozen=True):
    """A request that has ended, for whoever writes that down. A refused one may have no intake.

    ``row`` tells of it in plain fields (`shim.record.summary.Row`), without what must not be
    logged; ``secrets`` are the client's credentials. ``connections`` are the states of its two
    connections, ``error`` that of the connection's error, as flow files have them; ``answer`` is
    the head of what the client got; ``policy`` was in force when it began.
    """

    access: Access
    intake: Intake | None
    decision: Decision | None
    outcome: Outcome
    row: dict[str, Any]
    secrets: frozenset[str]
    connections: tuple[dict[str, Any], dict[str, Any]]
    error: dict[str, Any] | None
    answer: Head | None
    policy: InForce | None = None
