"""Puts a client's codec and an upstream's together: what the translate addon calls, and replay too.

A translator is a transducer: ``feed(bytes) -> bytes``, ``close() -> bytes``; no I/O, no clock.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Protocol

import msgspec

from ..codex.login import RENEW
from ..json_text import restore_surrogates
from ..repair.turn import Repairs, Rules
from ..route.choose import Route
from ..shown import short
from ..tools.bridge import Bridge
from ..tools.offered import Offered
from ..turn import Event, Failure, Text, Turn, Usage, WireError
from .address import Endpoint, endpoint
from .characters import whole
from .errors import http_failure
from .fields import pass_on
from .lenient import Unreadable
from .passthrough import Passthrough, says_error
from .protocols import Caching, Codec, Target, codec
from .quirks import CODEX, quirks
from .responses.errors import CONTEXT, failed_stream
from .sse import is_stream
from .unmask import Unmask, UnmaskEvents

STREAM = "text/event-stream"


class Translator(Protocol):
    """One answer on its way to the client."""

    @property
    def usage(self) -> Usage | None:
        """Tokens, once the answer has told of them."""

    @property
    def failure(self) -> Failure | None:
        """What went wrong inside the answer, if anything did."""

    def feed(self, data: bytes) -> bytes:
        """What the client gets for a piece of the upstream's stream."""

    def close(self) -> bytes:
        """What the client gets at the end of the upstream's stream."""

    def whole(self, body: bytes) -> bytes | None:
        """The client's answer for an unstreamed success; None when it is no model answer."""

    def abort(self, failure: Failure) -> bytes:
        """What the client gets when the answer cannot go on."""

    @property
    def calls(self) -> int:
        """How many tool calls the answer holds."""

    @property
    def response(self) -> dict[str, Any] | None:
        """The whole answer in the client's protocol, once it has ended."""

    @property
    def repaired(self) -> list[str]:
        """What was made a call again, or mended in one."""


class Answer(msgspec.Struct, frozen=True):
    """A whole answer for the client; ``body`` None leaves the upstream's own as it is."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    failure: Failure | None = None


class Translation:
    """One turn and its route: the request for the upstream, and the way back for its answer.

    ``all_calls``: calls of tools that nobody offered go back as calls too. ``unmask``: secrets and
    tools' names that the client's own stand for. ``told`` is the turn that the client hears of in
    its answer, where a policy has changed it on its way; ``repair`` says in which forms calls may
    stand in the answer's text; ``caching`` is how the prompt is to be cached. ``renews``: the
    client sends a ChatGPT login of its own, and renews it when it hears that it was refused.
    """

    def __init__(
        self,
        turn: Turn,
        route: Route,
        *,
        codex: bool,
        all_calls: bool = False,
        unmask: Unmask | None = None,
        told: Turn | None = None,
        repair: Rules | None = None,
        caching: Caching | None = None,
        renews: bool = False,
    ) -> None:
        self.renews = renews
        self.repair = repair
        self.caching = _fitting(caching, route)
        self.told = turn
        if told is not None:
            self.told = copy.copy(told)
            self.told.seed = turn.seed
        self.all_calls = all_calls
        self.unmask = unmask or Unmask({})
        self.turn = turn
        self.route = route
        self.codex = codex
        self.notes: list[str] = []

    @cached_property
    def bridge(self) -> Bridge:
        """The turn's tools under the names the upstream knows; looks at every item once."""
        return Bridge(self.turn.tools)

    @property
    def translates(self) -> bool:
        """Whether the answer is made anew: other protocols, or calls to be found in its text."""
        if self.route.protocol != self.turn.protocol:
            return True
        return self.repair is not None and self.repair.always

    @property
    def written_back(self) -> str | None:
        """The name that the answer of a ChatGPT login gives its model, in the place of its own."""
        route = self.route
        if not route.login or self.translates or self.turn.model in ("", route.model):
            return None
        return self.turn.model

    @property
    def warning(self) -> str | None:
        """A Warning header that names what was left out, if anything was (RFC 7234, 5.5)."""
        if not self.notes:
            return None
        text = short("; ".join(self.notes), 1000).encode("ascii", "replace").decode()
        return f'299 interpose "{text.replace('"', "'")}"'

    @cached_property
    def client(self) -> Codec:
        """How the client speaks."""
        return codec(self.turn.protocol)

    @cached_property
    def upstream(self) -> Codec:
        """How the upstream speaks."""
        return codec(self.route.protocol)

    @property
    def target(self) -> Target:
        """What the request is written for."""
        route = self.route
        return Target(
            route.model,
            route.provider,
            route.images,
            route.third_party,
            CODEX if route.login else quirks(route.base_url),
            caching=self.caching,
        )

    def request(self) -> bytes:
        """The body for the upstream. WireError when an item cannot be understood."""
        if not self.translates:
            route = self.route
            return pass_on(
                self.turn, model=route.model, third_party=route.third_party, caching=self.caching
            )
        if self.turn.setting("background"):
            raise WireError(
                "background: this model answers while you wait; leave it out", param="background"
            )
        if self.turn.protocol == "messages" and self.bridge.left_out and not self.bridge.offered:
            # A request made for a server's tool alone (a web search) has no other sense.
            named = ", ".join(self.bridge.left_out)
            raise WireError(
                f"tools: {named} runs at Anthropic only, and this model is answered by "
                f"{self.route.provider}; use a tool of your own, or a model of Anthropic's",
                param="tools",
            )
        self.turn.items  # noqa: B018
        self.notes += [
            f"{place} left out: no counterpart in the upstream's protocol"
            for place in self.turn.untranslated.places
        ]
        body = self.upstream.write_request(self.turn, self.bridge, self.target, self.notes)
        # Half a surrogate pair is a private character while a request is read.
        return restore_surrogates(body) if b"\xf4" in body and self.turn.has_surrogates else body

    def translator(self) -> Translator:
        """A fresh transducer for the answer."""
        return _Translated(self) if self.translates else Passthrough(self)

    def streams(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether an answer with this head is passed on piece by piece, or looked at as a whole.

        ``headers`` has lower-case names.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        return (
            status == 200
            and self.turn.stream
            and headers.get("content-length") != "0"
            and (kind == STREAM or not ("json" in kind or "html" in kind))
        )

    def answer(
        self,
        translator: Translator,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        url: str = "",
    ) -> Answer | None:
        """The client's answer for one that came as a whole, from ``url``; None: pass it on as it
        is."""
        out = translator.whole(body) if status == 200 else None
        failure = translator.failure
        if out is None:
            failure = http_failure(status, headers, body, self.route.provider, self._endpoint(url))
            if failure.address:
                # No provider's answer, which any client could read: it is the user's to set right.
                return self.error(failure)
            refused = self.route.login and status == 401
            if refused and not self.renews:
                said = f"{failure.message}; {RENEW}"
                return self.error(msgspec.structs.replace(failure, message=said))
            if refused or not (self.codex or self.translates):
                if status == 200 and not says_error(_value(body)):
                    return self.error(failure)
                return Answer(status, {}, None, failure)
        elif not self.translates:
            kind = headers.get("content-type", "application/json")
            mislabelled = is_stream(out) and STREAM not in kind.lower()
            kind = STREAM if mislabelled else kind
            if self.unmask or self.written_back or mislabelled or out != body:
                return Answer(status, {"content-type": kind}, out, failure)
            return Answer(status, {}, None, failure) if failure else None
        if failure and (out is None or not self.turn.stream):
            return self.error(failure)
        headers = {"content-type": STREAM if self.turn.stream else "application/json"}
        if self.warning:
            headers["warning"] = self.warning
        return Answer(200, headers, out, failure)

    def _endpoint(self, url: str) -> Endpoint | None:
        """What was asked; whose address it is decides what a user can do."""
        route = self.route
        if not url:
            return None
        base = route.base_url or ""
        whose: Literal["policy", "client", ""] = "policy" if base and not route.login else ""
        if route.provider == "reverse":
            whose = "client"
        return endpoint(url, route.protocol, base_url=base, model=route.model, whose=whose)

    def error(self, failure: Failure) -> Answer:
        """How the client is told of ``failure`` when nothing was sent yet."""
        return error_answer(failure, self.turn, codex=self.codex)


def _fitting(caching: Caching | None, route: Route) -> Caching | None:
    """``caching`` without what the upstream does not know."""
    if caching is None:
        return None
    known = route.protocol == "responses" or caching.always or quirks(route.base_url).cache_key
    if route.protocol == "messages" or not known:
        caching = msgspec.structs.replace(caching, key=None)
    if route.protocol != "messages":
        caching = msgspec.structs.replace(caching, life=None)
    return caching


def count_answer(turn: Turn) -> bytes:
    """The answer to ``/messages/count_tokens`` where the upstream does not count: an estimate."""
    from .messages.count import count_tokens

    return msgspec.json.encode({"input_tokens": count_tokens(turn)})


def error_answer(failure: Failure, turn: Turn, *, codex: bool) -> Answer:
    """How a client is told of ``failure``: Codex in a stream, others by an honest status."""
    if codex:
        seed = turn.seed
        return Answer(200, {"content-type": STREAM}, failed_stream(failure, seed), failure)
    headers = {"content-type": "application/json"}
    if failure.delay is not None:
        # Whole seconds: the header has no fractions, and not every client would read one.
        headers["retry-after"] = str(math.ceil(failure.delay))
    status = 400 if failure.context else failure.status if failure.status >= 400 else 502
    code = CONTEXT if failure.context else failure.code or None
    body = codec(turn.protocol).error_body(
        failure.message, status=status, type=failure.type, code=code
    )
    return Answer(status, headers, body, failure)


class _Translated:
    def __init__(self, translation: Translation) -> None:
        turn, route = translation.turn, translation.route
        self._stream = turn.stream
        self._is_answer = translation.upstream.is_answer
        self._decoder = translation.upstream.decoder(
            lambda: turn.seed, route.provider, turn.call_ids
        )
        translation.bridge.rename(translation.unmask.names)
        self._offered = Offered(translation.bridge, strange=translation.all_calls)
        self._unmask = UnmaskEvents(translation.unmask)
        self.repairs = Repairs(translation.repair, translation.bridge, turn)
        self._plain = self.repairs.plain
        self._encoder = translation.client.encoder(
            turn=translation.told,
            model=turn.model or route.model,
            provider=route.provider,
            bridge=translation.bridge,
            codex=translation.codex,
        )

    @property
    def usage(self) -> Usage | None:
        return self._encoder.usage

    @property
    def failure(self) -> Failure | None:
        return self._encoder.failure

    @property
    def calls(self) -> int:
        return self._encoder.calls

    @property
    def response(self) -> dict[str, Any] | None:
        return self._encoder.response

    @property
    def repaired(self) -> list[str]:
        return self.repairs.notes

    def feed(self, data: bytes) -> bytes:
        return self._encoder.encode(self._filter(self._decoder.feed(data)))

    def close(self) -> bytes:
        return self._encoder.encode(self._filter(self._decoder.close()))

    def whole(self, body: bytes) -> bytes | None:
        if is_stream(body):
            events = [*self._decoder.feed(body), *self._decoder.close()]
        elif not self._is_answer(_value(body)):
            return None
        else:
            events = self._decoder.whole(body)
        return self._finish(events)

    def abort(self, failure: Failure) -> bytes:
        return self._encoder.encode([failure])

    def _filter(self, events: list[Event]) -> list[Event]:
        # Most events are a piece of plain text alone.
        if len(events) == 1 and type(event := events[0]) is Text and self._plain(event.text):
            return self._unmask.filter(events)
        return self.repairs.filter(events, self._pass_on)

    def _pass_on(self, events: list[Event]) -> list[Event]:
        return self._unmask.filter(self._offered.filter(events))

    def _finish(self, events: list[Event]) -> bytes:
        stream = self._encoder.encode(self._filter(events))
        return stream if self._stream else msgspec.json.encode(self._encoder.response)


def _value(body: bytes) -> Any:
    try:
        return whole(body)[0]
    except Unreadable:
        return None
