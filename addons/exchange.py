"""What the stages of the chain share: one Exchange per turn, and what outlives a turn."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from addons.engines import Engines
from shim import client
from shim.account.bill import Account
from shim.client import Facts
from shim.live.metrics import Metrics
from shim.live.spans import Spans
from shim.live.sums import Live
from shim.policy.rules import Capabilities
from shim.policy.schema import Policy
from shim.policy.store import PolicyStore
from shim.record.redact import redactor
from shim.route.choose import Route
from shim.route.failures import Failures
from shim.route.health import Breakers
from shim.route.initial import instead_of_demo
from shim.route.limits import Verdict
from shim.route.switch import Switch
from shim.state.store import Memory, Store
from shim.turn import Failure, Turn, Usage
from shim.wire.protocols import COUNT, codec, protocol_of, split_path
from shim.wire.translate import Translation, Translator, error_answer

if TYPE_CHECKING:
    from shim.daemon.files import Files

logger = logging.getLogger(__name__)


@dataclass
class Exchange:
    """One turn on its way through the chain. Times are seconds since 1970.

    ``client_request`` stays as the client sent it: what goes upstream is a request of its own.
    ``proxied``: it was on its way to another host, the default for models nobody knows here.
    ``asked`` is the turn as the client sent it, ``turn`` what the stages have made of it;
    ``edited``: the policy has changed the prompt; ``saved``: so many characters of it are sent as
    references, ``saved_anew`` of them for the first time. ``names`` maps what tools are called
    upstream to the client's own names, ``masks`` what stands for a secret to the secret. ``wants``
    are the capabilities that the request itself names, ``capabilities`` those that count on its
    route. ``left`` are the candidates behind ``route``, ``tried`` those before it. ``also_used`` is
    what other models used for this turn, ``account`` what it cost. ``passed`` names the stages that
    are through with the request: one that broke lets it go no further.
    """

    client_request: http.Request
    headers: dict[str, str]
    codex: bool
    turn: Turn
    who: str
    asked: Turn
    proxied: bool = False
    started: float = field(default_factory=time.time)
    facts: Facts | None = None
    tags: frozenset[str] = frozenset()
    names: dict[str, str] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    edited: bool = False
    saved: int = 0
    saved_anew: int = 0
    account: Account | None = None
    wants: dict[str, Any] = field(default_factory=dict)
    capabilities: Capabilities | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    also_used: list[tuple[str, Usage]] = field(default_factory=list)
    route: Route | None = None
    left: list[Route] = field(default_factory=list)
    tried: frozenset[str] = frozenset()
    endpoint: tuple[str, str, int] | None = None
    translation: Translation | None = None
    translator: Translator | None = None
    upstream_request: http.Request | None = None
    upstream_response: http.Response | None = None
    received: list[bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    decisions: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    failure: Failure | None = None
    first_byte: float | None = None
    added: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether the client only wants to know how many tokens the turn has."""
        return split_path(self.client_request.path)[1].endswith(COUNT)

    @property
    def conversation(self) -> tuple[str | None, str | None, str | None]:
        """The ids of its session, thread and turn, as far as anybody tells."""
        session, thread, turn = client.conversation(self.headers)
        if facts := self.facts:
            session, thread = facts.session or session, facts.thread or thread
        return session, thread, turn

    def decide(self, stage: str, what: str) -> None:
        """Note what ``stage`` decided and why; it lands in the recording and in mitmweb."""
        self.decisions.append(f"{stage}: {what}")

    def fail(self, flow: http.HTTPFlow, failure: Failure) -> None:
        """Answer the client with ``failure``, in its own way; nothing was sent yet."""
        said = redactor(frozenset(self.secrets)).text(failure.message)
        self.failure = failure = msgspec.structs.replace(failure, message=said)
        answer = error_answer(failure, self.turn, codex=self.codex)
        flow.response = http.Response.make(answer.status, answer.body or b"", answer.headers)


_exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = WeakKeyDictionary()
#: Flows of a forward proxy that the chain serves: whether they were on their way elsewhere.
_taken: WeakKeyDictionary[http.HTTPFlow, bool] = WeakKeyDictionary()


def exchange_of(flow: http.HTTPFlow) -> Exchange | None:
    """The exchange that ``flow`` carries; None for pages, refusals and foreign traffic."""
    return _exchanges.get(flow)


def take(flow: http.HTTPFlow, *, proxied: bool) -> None:
    """Serve a flow of a forward proxy; ``proxied``: it is on its way to another host."""
    _taken[flow] = proxied


def is_ours(flow: http.HTTPFlow) -> bool:
    """Whether the chain serves ``flow``; all others pass as they are."""
    return isinstance(flow.client_conn.proxy_mode, ReverseMode) or flow in _taken


def is_proxied(flow: http.HTTPFlow) -> bool:
    """Whether the client of ``flow`` speaks to another host, as it thinks."""
    return _taken.get(flow, False)


def begin(flow: http.HTTPFlow, exchange: Exchange) -> None:
    """Bind ``exchange`` to ``flow`` for as long as the flow lives."""
    _exchanges[flow] = exchange


def under_way() -> list[tuple[http.HTTPFlow, Exchange]]:
    """The exchanges that have begun and not ended."""
    return list(_exchanges.items())


def end(flow: http.HTTPFlow) -> None:
    """Let go of the exchange: mitmproxy keeps a flow until its next collection of cycles."""
    _exchanges.pop(flow, None)
    if flow.response and callable(flow.response.stream):
        flow.response.stream = True


def refuse(flow: http.HTTPFlow, status: int, message: str, *, param: str | None = None) -> None:
    """Answer with an error in the client's own shape, before anything else is done."""
    shape = codec(protocol_of(flow.request.path) or "responses")
    # Host and path may hold bytes that are no text, and be as long as they like.
    message, path = (_printable(text) for text in (message, bare(flow.request.path)))
    body = shape.error_body(message, status=status, param=param)
    logger.warning("%s %s · %d · %s", flow.request.method, path, status, message)
    flow.response = http.Response.make(status, body, {"content-type": "application/json"})


def _printable(text: str) -> str:
    return text[:_LONGEST_TOLD].encode("utf-8", "replace").decode()


def plain(headers: http.Headers) -> dict[str, str]:
    """Headers as ``shim`` wants them: lower-case names, one value each."""
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in headers.fields}


def fields(headers: dict[str, str]) -> http.Headers:
    """Headers as mitmproxy wants them."""
    return http.Headers([(k.encode(), v.encode()) for k, v in headers.items()])


def bare(path: str) -> str:
    """A request path without its query, which may hold a key."""
    return path.partition("?")[0]


def tail(path: str) -> str:
    """The last part of a request path: what is asked for, under whatever prefix."""
    return bare(path).rstrip("/").rpartition("/")[2]


#: Marks a flow that asks for one of the chain's own pages, and says for which.
PAGE = "interpose_page"

#: Characters of a refusal.
_LONGEST_TOLD = 4000

#: The stages that must be through with a turn before it may leave.
STAGES = frozenset({"state", "catch", "spend", "route", "compact", "translate"})


class Chain:
    """What the stages have in common beyond one turn.

    ``settle`` waits until everything finished is written down.
    """

    settle: Callable[[], Awaitable[None]] | None = None

    def __init__(self) -> None:
        self.running = False
        self.policies = PolicyStore()
        #: What must be remembered beyond one turn: stored responses, counters.
        self.store: Store = Memory()
        self.engines = Engines(self)
        self.failures = Failures()
        self.breakers = Breakers()
        self.default_model: str | None = None
        #: The model that was chosen for a user who has chosen none; it stands above the demo only.
        self.initial_model: str | None = None
        #: The model that was switched to; it stands above `default_model` and the policy's default.
        self.switch = Switch()
        self.rows: list[dict[str, object]] = []
        self.metrics = Metrics()
        self.live = Live()
        #: Where somebody wants OpenTelemetry's spans.
        self.spans: Spans | None = None
        self.flow_file: str | None = None
        self.recording_error: str | None = None
        #: How many requests came while the same one was under way.
        self.duplicates = 0
        #: How many tool calls were made of text, or mended.
        self.repairs = 0
        #: What live flows were answered with, without keys: the flow itself is still to be sent.
        self.answers: WeakKeyDictionary[http.HTTPFlow, http.Response] = WeakKeyDictionary()
        #: Whose the stored responses of a flow are: a digest of the client key it came with.
        self.owners: WeakKeyDictionary[http.HTTPFlow, str] = WeakKeyDictionary()

    def default(self, policy: Policy) -> str | None:
        """The model for names the policy does not know; None when only the policy may say."""
        named = self.switch.default(policy) or self.default_model
        return named or instead_of_demo(policy, self.initial_model)

    def daemon(self) -> Files | None:
        """The daemon's files, if this process is the daemon; None for any other chain."""
        path = self.switch.path
        if path is None:
            return None
        from shim.daemon.files import Files

        files = Files(path.parent)
        return files if files.who().get("pid") == os.getpid() else None
