"""Agents behind Chat Completions, for the chain beside this server: it speaks with the clients.

A turn runs as a task of its own, whoever reads its answer: a client that leaves ends the turn, and
what the turn has started is gone before its slot is given on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...policy.agents import Agent
from ...policy.units import seconds
from ...route.decide import EFFORTS
from ...state.store import Store
from ...turn import Event, Failure, Reasoning, Turn, WireError
from ..sessions import ASKER, HEADER, Sessions, digest
from . import codex, lines
from .answer import Answer
from .ask import Ask, read
from .images import fetch
from .process import FAILED, AgentError
from .queue import Queue
from .run import WORD, Activity, Job, Said, Session, Unknown

logger = logging.getLogger(__name__)

#: Seconds for which an agent's models, and whether it is ready, are not asked again.
_REMEMBERED = 30.0
#: Seconds that an agent may take to name its models.
_PATIENCE = 30.0
_SSE = {"cache-control": "no-store"}


class Agents:
    """The agents of the policy in force. ``named`` gives each as its entry says, with variables
    replaced; ``store`` keeps their sessions, ``hide`` takes secrets out of what is told, and
    empty folders to work in are made in ``places``."""

    def __init__(
        self,
        named: Callable[[], Mapping[str, Agent]],
        store: Store,
        places: Path,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._named = named
        self._sessions = Sessions(store)
        self._places = places
        self._hide = hide
        self._queues: dict[str, Queue] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._known: dict[str, tuple[float, list[str], str]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        #: The sessions of agents that work now, by digest, and the agents that have led there.
        self._under: dict[str, tuple[str, ...]] = {}
        self._folder: Path | None = None

    async def complete(self, name: str, request: Request, turn: Turn) -> Response:
        """Answer ``turn`` of the agent ``name``. WireError and AgentError say why not."""
        try:
            return await self._complete(name, request, turn)
        except AgentError as e:
            raise AgentError(self._hide(str(e)), e.status, e.code) from None

    async def _complete(self, name: str, request: Request, turn: Turn) -> Response:
        agent = self._agent(name)
        asker = self._asker(name, request.headers.get(ASKER, ""))
        ask = await asyncio.to_thread(read, turn)
        ask.model, ask.effort = await self._model(name, agent, ask)
        conversation = request.headers.get(HEADER, "")
        if agent.require_session and not conversation:
            raise WireError("a session is required: name it in session_id, or in x-session-id")
        said: asyncio.Queue[Event] = asyncio.Queue()
        work = asyncio.create_task(self._work(name, agent, ask, conversation, asker, said))
        self._turns.add(work)
        work.add_done_callback(self._turns.discard)
        answer = Answer(said, work, turn)
        try:
            first = await answer.first(request)
        except BaseException:
            work.cancel()
            raise
        if isinstance(first, Failure):
            raise AgentError(first.message, first.status or FAILED, first.code)
        if turn.stream:
            return StreamingResponse(
                answer.stream(first), media_type="text/event-stream", headers=_SSE
            )
        return await answer.whole(request, first)

    async def offers(self, name: str) -> tuple[list[str], str]:
        """The models of an agent, and why none of them can be used now (empty when they can)."""
        async with self._asking.setdefault(name, asyncio.Lock()):
            agent = self._named().get(name)
            if agent is None:
                return [], "it is no agent of the policy any more"
            at, found, why = self._known.get(name, (-_REMEMBERED, [], ""))
            if time.monotonic() - at < _REMEMBERED:
                return found, why
            found, why = list(agent.models), ""
            try:
                if agent.use == "codex":
                    async with asyncio.timeout(_PATIENCE):
                        found = found or await codex.models(agent, self._own_folder())
                else:
                    why = await lines.ready(agent, str(self._own_folder()))
            except AgentError as e:
                why = str(e)
            except TimeoutError:
                why = f"{name} does not name its models"
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

    def _asker(self, name: str, sessions: str) -> tuple[str, ...]:
        """The agents whose turns have led to this one. AgentError when ``name`` is among them."""
        asker = next((self._under[s] for s in sessions.split(",") if s in self._under), ())
        if name in asker:
            way = " → ".join((*asker, name))
            said = f"{name} asks itself ({way}): give it a model that does not lead back to it"
            raise AgentError(said, 400, "agent_loop")
        return asker

    def _agent(self, name: str) -> Agent:
        agent = self._named().get(name)
        if agent is None:
            raise AgentError(f"no agent {name} in the policy", 404, "model_not_found")
        return agent

    async def _model(self, name: str, agent: Agent, ask: Ask) -> tuple[str, str]:
        """The model and effort to ask for; an effort may stand behind the model's name."""
        found: list[str] = []
        if agent.use != "codex":
            # Codex says itself what is wrong, and in which words.
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
            if word and not WORD.fullmatch(word):
                said = f"the {what} {word[:80]!r} is none: letters, digits and . _ : / @ + - only"
                raise WireError(said, param=what)
        if agent.models and model and model not in agent.models:
            has = ", ".join(agent.models)
            said = f"{name} offers no model {model}; it has {has}"
            raise AgentError(said, 404, "model_not_found")
        return model, effort

    async def _work(
        self,
        name: str,
        agent: Agent,
        ask: Ask,
        conversation: str,
        asker: tuple[str, ...],
        said: asyncio.Queue[Event],
    ) -> None:
        """One turn from its wait for a slot to its end; what it says goes to ``said``."""
        tell = self._teller(said)
        queue = self._queues.setdefault(name, Queue(agent.slots, agent.queue))
        queue.slots, queue.most_waiting = agent.slots, agent.queue
        try:
            async with queue.turn(f"{name}:{conversation}" if conversation else ""):
                limit = seconds(agent.time_limit)
                try:
                    async with asyncio.timeout(limit):
                        await self._turn(name, agent, ask, conversation, asker, tell)
                except TimeoutError:
                    said_ = f"{name} was stopped after {limit:g} s; time_limit allows no more"
                    tell(Failure(said_, FAILED, "time_limit"))
        except AgentError as e:
            tell(Failure(str(e), e.status, e.code))
        except Exception as e:
            logger.exception("a turn of an agent broke")
            tell(Failure(f"interpose: the turn of {name} broke: {e!r}", FAILED, "agent_failed"))

    def _teller(self, said: asyncio.Queue[Event]) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            if isinstance(event, Failure):
                # In a stream it is the type that keeps a client from asking again.
                event = msgspec.structs.replace(
                    event, message=self._hide(event.message), type="invalid_request_error"
                )
            said.put_nowait(event)

        return tell

    async def _turn(
        self,
        name: str,
        agent: Agent,
        ask: Ask,
        conversation: str,
        asker: tuple[str, ...],
        tell: Callable[[Event], None],
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
                under: set[str] = set()
                try:
                    async with contextlib.aclosing(run(agent, job)) as heard:
                        async for said in heard:
                            if isinstance(said, Session):
                                self._sessions.put(name, conversation, said.name)
                                under.add(mark := digest(said.name))
                                self._under[mark] = (*asker, name)
                            else:
                                self._pass(agent, said, tell)
                    return
                except Unknown as e:
                    if known is None:
                        raise AgentError(str(e)) from None
                    # All that was said is told to a new session.
                    known = None
                    self._pass(agent, Activity("(its session is gone: begun anew)"), tell)
                finally:
                    for mark in under:
                        self._under.pop(mark, None)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _pass(self, agent: Agent, said: Said, tell: Callable[[Event], None]) -> None:
        if isinstance(said, Activity):
            if agent.activity == "reasoning":
                tell(Reasoning(f"\n{said.text}\n"))
        elif not isinstance(said, Session):
            tell(said)

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="interpose-agents-"))
        return self._folder

    def _place(self, name: str) -> Path:
        """An empty folder to work in, for an agent that has been given none: always the same, since
        some keep their sessions by it."""
        path = self._places / re.sub(r"[^A-Za-z0-9_-]", "_", name)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as e:
            said = f"{path} cannot be made: {e.strerror}; name a folder in cwd"
            raise AgentError(said, 503) from None
        return path
