"""Agents behind Chat Completions, for the chain beside this server: it speaks with the clients.

A turn runs as a task of its own, whoever reads its answer: a client that leaves ends the turn, and
what the turn has started is gone before its slot is given on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ...policy.agents import Agent
from ...policy.units import seconds
from ...route.decide import EFFORTS
from ...state.store import Store
from ...tools.bridge import Bridge
from ...turn import Event, Failure, Finish, KeepAlive, Reasoning, Started, Turn, WireError
from ...wire.protocols import codec
from ..sessions import HEADER, Sessions
from . import codex, lines
from .ask import Ask, read
from .images import fetch
from .process import AgentError
from .queue import Queue
from .run import Activity, Job, Said, Session, Unknown

logger = logging.getLogger(__name__)

#: Seconds without a word after which the stream begins, and is kept alive.
_QUIET = 10.0
#: Seconds for which an agent's models, and whether it is ready, are not asked again.
_REMEMBERED = 30.0
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_SSE = {"cache-control": "no-store"}


class Agents:
    """The agents of the policy in force. ``named`` gives each as its entry says, with variables
    replaced; ``store`` keeps their sessions."""

    def __init__(self, named: Callable[[], Mapping[str, Agent]], store: Store) -> None:
        self._named = named
        self._sessions = Sessions(store)
        self._queues: dict[str, Queue] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._known: dict[str, tuple[float, list[str], str]] = {}
        self._asking = asyncio.Lock()
        self._folder: Path | None = None

    async def complete(self, name: str, request: Request, turn: Turn) -> Response:
        """Answer ``turn`` of the agent ``name``. WireError and AgentError say why not."""
        agent = self._agent(name)
        ask = read(turn)
        ask.model, ask.effort = await self._model(name, agent, ask)
        conversation = request.headers.get(HEADER, "")
        if agent.require_session and not conversation:
            raise WireError("a session is required: name it in session_id, or in x-session-id")
        said: asyncio.Queue[Event] = asyncio.Queue()
        work = asyncio.create_task(self._work(name, agent, ask, conversation, said))
        self._turns.add(work)
        work.add_done_callback(self._turns.discard)
        answer = _Answer(said, work, turn)
        try:
            first = await answer.first(request)
        except BaseException:
            work.cancel()
            raise
        if isinstance(first, Failure):
            raise AgentError(first.message, first.status or 502, first.code)
        if turn.stream:
            return StreamingResponse(
                answer.stream(first), media_type="text/event-stream", headers=_SSE
            )
        return await answer.whole(request, first)

    async def offers(self, name: str) -> tuple[list[str], str]:
        """The models of an agent, and why none of them can be used now (empty when they can)."""
        async with self._asking:
            agent = self._agent(name)
            at, found, why = self._known.get(name, (-_REMEMBERED, [], ""))
            if time.monotonic() - at < _REMEMBERED:
                return found, why
            found, why = list(agent.models), ""
            try:
                if agent.use == "codex":
                    found = found or await codex.models(agent, self._own_folder())
                else:
                    why = await lines.ready(agent, str(self._own_folder()))
            except AgentError as e:
                why = str(e)
            self._known[name] = (time.monotonic(), found, why)
            return found, why

    async def stop(self) -> None:
        """End all turns, and take what they were given away."""
        for task in (turns := list(self._turns)):
            task.cancel()
        if turns:
            await asyncio.wait(turns)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _agent(self, name: str) -> Agent:
        agent = self._named().get(name)
        if agent is None:
            raise AgentError(f"no agent {name} in the policy", 404, "model_not_found")
        return agent

    async def _model(self, name: str, agent: Agent, ask: Ask) -> tuple[str, str]:
        """The model and effort to ask for; an effort may stand behind the model's name."""
        found, why = await self.offers(name)
        if why:
            raise AgentError(why, 503, "agent_not_ready")
        model, effort = ask.model, ask.effort
        head, colon, rest = model.rpartition(":")
        if colon and rest in EFFORTS and model not in found and not effort:
            model, effort = head, rest
        if model == name:
            # Its own name: whatever it uses by itself.
            model = ""
        for what, word in (("model", model), ("effort", effort)):
            if word and not _WORD.fullmatch(word):
                raise WireError(f"{what} {word[:80]!r} is none", param="model")
        if agent.models and model and model not in found:
            raise AgentError(
                f"{name} offers no model {model}; it has {', '.join(found)}", 404, "model_not_found"
            )
        return model, effort

    async def _work(
        self, name: str, agent: Agent, ask: Ask, conversation: str, said: asyncio.Queue[Event]
    ) -> None:
        """One turn from its wait for a slot to its end; what it says goes to ``said``."""
        tell = said.put_nowait
        queue = self._queues.setdefault(name, Queue(agent.slots, agent.queue))
        queue.slots, queue.most_waiting = agent.slots, agent.queue
        try:
            async with queue.turn(f"{name}:{conversation}" if conversation else ""):
                limit = seconds(agent.time_limit)
                try:
                    async with asyncio.timeout(limit):
                        await self._turn(name, agent, ask, conversation, tell)
                except TimeoutError:
                    said_ = f"{name} was stopped after {limit:g} s; time_limit allows no more"
                    tell(Failure(said_, 504, "time_limit"))
        except AgentError as e:
            tell(Failure(str(e), e.status, e.code))
        except Exception as e:
            logger.exception("a turn of an agent broke")
            tell(Failure(f"interpose: the turn of {name} broke: {e!r}", 500, "agent_failed"))

    async def _turn(
        self, name: str, agent: Agent, ask: Ask, conversation: str, tell: Callable[[Event], None]
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="turn-", dir=self._own_folder()))
        run = codex.run if agent.use == "codex" else lines.run
        try:
            root = Path(agent.images_from) if agent.images_from else None
            known = self._sessions.get(name, conversation)
            cwd = Path(agent.cwd).expanduser() if agent.cwd else self._place(name)
            if not cwd.is_dir():
                raise AgentError(f"cwd {agent.cwd} is no folder", 503)
            while True:
                urls = ask.new_images if known else ask.images
                images = await fetch(urls, folder, root)
                job = Job(ask, known, images, cwd, kept=bool(conversation))
                try:
                    async with contextlib.aclosing(run(agent, job)) as heard:
                        await self._hear(name, agent, conversation, heard, tell)
                    return
                except Unknown as e:
                    if known is None:
                        raise AgentError(str(e)) from None
                    # It has forgotten: all that was said is told to a new session.
                    self._sessions.forget(name, conversation)
                    known = None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _hear(
        self,
        name: str,
        agent: Agent,
        conversation: str,
        heard: AsyncIterator[Said],
        tell: Callable[[Event], None],
    ) -> None:
        begun = False
        async for said in heard:
            if isinstance(said, Session):
                self._sessions.put(name, conversation, said.name)
                continue
            if not begun and not isinstance(said, Failure):
                tell(Started(secrets.token_hex(12), int(time.time())))
                begun = True
            if not isinstance(said, Activity):
                tell(said)
            elif agent.activity == "reasoning":
                tell(Reasoning(f"\n{said.text}\n"))

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="interpose-agents-"))
        return self._folder

    def _place(self, name: str) -> Path:
        """An empty folder to work in, for an agent that has been given none."""
        path = self._own_folder() / "work" / re.sub(r"[^A-Za-z0-9_-]", "_", name)
        path.mkdir(parents=True, exist_ok=True)
        return path


class _Answer:
    """What a turn says, as the answer of a model."""

    def __init__(self, said: asyncio.Queue[Event], work: asyncio.Task[None], turn: Turn) -> None:
        self._said, self._work = said, work
        self._encoder = codec("chat").encoder(
            turn=turn, model=turn.model, provider="agent", bridge=Bridge([]), codex=False
        )

    async def first(self, request: Request) -> Event:
        """The first event, or a KeepAlive when it takes long. AgentError when the client leaves."""
        return await self._unless_left(request)

    async def stream(self, first: Event) -> AsyncIterator[bytes]:
        """The stream; to stop reading it ends the turn."""
        try:
            event = first
            if isinstance(first, KeepAlive):
                yield self._encoder.encode([Started(secrets.token_hex(12), int(time.time()))])
            while True:
                if not (isinstance(first, KeepAlive) and isinstance(event, Started)):
                    yield self._encoder.encode([event])
                if isinstance(event, Finish | Failure):
                    return
                event = await self._next()
        finally:
            self._work.cancel()

    async def whole(self, request: Request, first: Event) -> Response:
        """The answer in one piece."""
        try:
            event = first
            while not isinstance(event, Finish | Failure):
                self._encoder.encode([event])
                event = await self._unless_left(request)
            if isinstance(event, Failure):
                raise AgentError(event.message, event.status or 502, event.code)
            self._encoder.encode([event])
            return JSONResponse(self._encoder.response)
        finally:
            self._work.cancel()

    async def _next(self) -> Event:
        if self._said.empty():
            waiting = asyncio.create_task(self._said.get())
            await asyncio.wait({waiting, self._work}, timeout=_QUIET)
            if waiting.done():
                return waiting.result()
            waiting.cancel()
            if self._work.done() and self._said.empty():
                return Failure("interpose: the turn was ended", 503, "agent_failed")
            if self._said.empty():
                return KeepAlive()
        return self._said.get_nowait()

    async def _unless_left(self, request: Request) -> Event:
        wanted = asyncio.create_task(self._next())
        leaves = asyncio.create_task(_left(request))
        try:
            await asyncio.wait({wanted, leaves}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                raise AgentError("the client left", 499)
            return wanted.result()
        finally:
            wanted.cancel()
            leaves.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
