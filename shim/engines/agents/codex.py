"""Codex as an agent, by its app-server: JSON-RPC, a message per line.

A process of its own per turn: it starts in a fraction of a second, and nothing of a turn that went
wrong is there in the next one. Source: `codex app-server generate-json-schema` of 0.169.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...policy.agents import Agent
from ...turn import Failure, Finish, Reasoning, Text, Usage
from .keeper import GRACE
from .process import FAILED, AgentError, Child, environment
from .run import Activity, Job, Said, Session, Unknown

#: Seconds for an answer to a request of ours; a turn is not one.
_PATIENCE = 60.0
_INTERRUPT = 1.0
_CLIENT = {"clientInfo": {"name": "interpose", "title": "Interpose", "version": "1"}}
#: What the server may ask of its client, and how that is declined.
_DECLINED: dict[str, dict[str, Any]] = {
    "item/commandExecution/requestApproval": {"decision": "decline"},
    "item/fileChange/requestApproval": {"decision": "decline"},
    "item/permissions/requestApproval": {"permissions": {}},
    "execCommandApproval": {"decision": "denied"},
    "applyPatchApproval": {"decision": "denied"},
}
_SANDBOXES = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
}


async def run(agent: Agent, job: Job) -> AsyncGenerator[Said]:
    """What Codex says to ``job``. AgentError when it fails, Unknown when the session is gone."""
    _may_write(agent, job.cwd)
    server = await _Server.start(agent, job.cwd)
    try:
        thread = await _thread(server, agent, job)
        yield Session(thread)
        turn = await server.call("turn/start", _turn(agent, job, thread))
        server.interrupt = {"threadId": thread, "turnId": _id(turn, "turn")}
        heard = _Heard(whole=job.ask.schema is not None)
        while True:
            method, params = await server.told()
            if params.get("threadId", thread) != thread:
                # A helper of its own, whose words are not the answer.
                continue
            try:
                for said in heard.told(method, params, server.turn):
                    server.over = heard.completed
                    yield said
                    if isinstance(said, Finish | Failure):
                        return
            except (KeyError, TypeError, AttributeError, ValueError) as e:
                raise AgentError(f"Codex's {method} is not as this version knows it: {e!r}") from e
    finally:
        await server.end()


async def models(agent: Agent, cwd: Path) -> list[str]:
    """The models that Codex offers."""
    server = await _Server.start(agent, cwd)
    try:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await server.call("model/list", {"cursor": cursor} if cursor else {})
            found += [str(m["model"]) for m in page.get("data") or () if not m.get("hidden")]
            cursor = page.get("nextCursor")
            if not cursor:
                return found
    finally:
        await server.end()


def _may_write(agent: Agent, cwd: Path) -> None:
    if agent.sandbox == "read-only" or not agent.git_check or agent.cwd is None:
        return
    if not any((folder / ".git").exists() for folder in (cwd, *cwd.parents)):
        said = f"{agent.cwd} is in no git repository; what is changed there could not be undone"
        raise AgentError(f"{said} (git_check: false allows it)", 503)


async def _thread(server: _Server, agent: Agent, job: Job) -> str:
    settings: dict[str, Any] = {
        "cwd": str(job.cwd),
        "sandbox": agent.sandbox,
        "approvalPolicy": agent.approval,
        "config": {"web_search": "live" if agent.web_search else "disabled"},
    }
    if job.ask.model:
        settings["model"] = job.ask.model
    if job.ask.instructions:
        settings["developerInstructions"] = job.ask.instructions
    if job.session is None:
        started = await server.call("thread/start", {**settings, "ephemeral": not job.kept})
        return _id(started, "thread")
    try:
        resumed = {**settings, "threadId": job.session, "excludeTurns": True}
        found = await server.call("thread/resume", resumed)
    except _Refused as e:
        raise Unknown(str(e)) from None
    return _id(found, "thread")


def _turn(agent: Agent, job: Job, thread: str) -> dict[str, Any]:
    said: list[dict[str, Any]] = [{"type": "text", "text": job.prompt}]
    said += [{"type": "localImage", "path": str(path)} for path in job.images]
    sandbox: dict[str, Any] = {"type": _SANDBOXES[agent.sandbox]}
    if agent.sandbox != "danger-full-access":
        sandbox["networkAccess"] = agent.network
    made = {
        "threadId": thread,
        "input": said,
        "sandboxPolicy": sandbox,
        "approvalPolicy": agent.approval,
    }
    if job.ask.effort:
        made["effort"] = job.ask.effort
    if job.ask.schema is not None:
        made["outputSchema"] = job.ask.schema
    return made


class _Heard:
    """The notifications of a turn as what they say; ``whole``: of its messages only the last one,
    which is then nothing but what the schema wants."""

    def __init__(self, whole: bool) -> None:
        #: Whether the turn has come to an end, of whatever kind.
        self.completed = False
        self._whole = whole
        self._last = ""
        self._used = Usage()
        self._messages: set[str] = set()

    def told(self, method: str, params: dict[str, Any], turn: str) -> Iterator[Said]:
        match method:
            case "item/agentMessage/delta":
                yield from self._says(params["itemId"], params["delta"])
            case "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta":
                yield Reasoning(params["delta"])
            case "item/started":
                if said := _does(params["item"]):
                    yield Activity(said)
            case "item/completed" if params["item"]["type"] == "agentMessage":
                item = params["item"]
                self._last = item["text"]
                # A model that does not stream has said nothing yet.
                if item["id"] not in self._messages:
                    yield from self._says(item["id"], item["text"])
            # A resumed thread first tells what its earlier turns took.
            case "thread/tokenUsage/updated" if params.get("turnId") == turn:
                self._used = _more(self._used, params["tokenUsage"]["last"])
            case "error" if not params.get("willRetry"):
                yield _failure(params["error"])
            case "turn/completed" if params["turn"]["id"] == turn:
                self.completed = True
                done = params["turn"]
                if done["status"] != "completed":
                    yield _failure(done.get("error") or {"message": f"turn {done['status']}"})
                    return
                if self._whole:
                    yield Text(self._last)
                yield self._used
                yield Finish("stop")

    def _says(self, item: str, text: str) -> Iterator[Said]:
        if self._whole:
            return
        if self._messages and item not in self._messages:
            yield Text("\n\n")
        self._messages.add(item)
        yield Text(text)


def _does(item: dict[str, Any]) -> str:
    match item["type"]:
        case "commandExecution":
            return f"$ {item['command']}"
        case "fileChange":
            paths = [str(c.get("path")) for c in item.get("changes") or ()]
            return f"edits {', '.join(paths)}"
        case "mcpToolCall":
            return f"uses {item['server']}: {item['tool']}"
        case "webSearch":
            return f"searches the web: {item.get('query') or ''}"
        case "dynamicToolCall":
            return f"uses {item['tool']}"
    return ""


def _more(used: Usage, last: dict[str, Any]) -> Usage:
    return Usage(
        input=used.input + int(last.get("inputTokens") or 0),
        cached=used.cached + int(last.get("cachedInputTokens") or 0),
        cache_write=used.cache_write + int(last.get("cacheWriteInputTokens") or 0),
        output=used.output + int(last.get("outputTokens") or 0),
        reasoning=used.reasoning + int(last.get("reasoningOutputTokens") or 0),
    )


def _failure(error: dict[str, Any]) -> Failure:
    said = f"Codex: {error.get('message') or 'the turn failed'}"
    info = error.get("codexErrorInfo")
    code = info if isinstance(info, str) else next(iter(info or ()), "")
    status = {"badRequest": 400, "modelNotFound": 404}.get(code, FAILED)
    return Failure(said, status, code, context=code == "contextWindowExceeded")


def _id(answer: dict[str, Any], what: str) -> str:
    return str(answer[what]["id"])


class _Refused(AgentError):
    """The server answered a request with an error."""


class _Ended(Exception):
    """The server ended before it answered."""


class _Server:
    """An app-server process: requests of ours, and what it tells by itself."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._told: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        self._reads = asyncio.create_task(self._read())
        #: The turn that was started; whether it has come to an end.
        self.interrupt: dict[str, str] | None = None
        self.over = False

    @classmethod
    async def start(cls, agent: Agent, cwd: Path) -> _Server:
        words = [*(agent.command or ["codex"]), "app-server"]
        server = cls(await Child.start(words, cwd=str(cwd), env=environment(agent.env)))
        try:
            await server.call("initialize", _CLIENT)
            await server._send({"method": "initialized"})
        except BaseException:
            await server.end()
            raise
        return server

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request. AgentError when there is none."""
        self._number += 1
        number = self._number
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send({"id": number, "method": method, "params": params})
            async with asyncio.timeout(_PATIENCE):
                return await future
        except TimeoutError:
            raise AgentError(f"Codex does not answer {method}") from None
        except _Ended:
            # The reader says so in its last step.
            await asyncio.wait({self._reads})
            raise await self._why() from None
        finally:
            self._waiting.pop(number, None)

    @property
    def turn(self) -> str:
        """The turn that is under way."""
        return self.interrupt["turnId"] if self.interrupt else ""

    async def told(self) -> tuple[str, dict[str, Any]]:
        """What it tells next. AgentError when it ends before its turn has."""
        said = await self._told.get()
        if said is None:
            raise await self._why()
        return said

    async def end(self) -> None:
        """End it; a turn that is under way is interrupted, a finished one may be written down."""
        patience = GRACE
        try:
            if self.interrupt and not self.over:
                patience = 0.0
                if not self._reads.done():
                    with contextlib.suppress(AgentError, TimeoutError):
                        async with asyncio.timeout(_INTERRUPT):
                            await self.call("turn/interrupt", self.interrupt)
        finally:
            self._reads.cancel()
            await self._child.end(patience)

    async def _why(self) -> AgentError:
        """Why it has ended."""
        if self._reads.done() and not self._reads.cancelled() and (e := self._reads.exception()):
            return e if isinstance(e, AgentError) else AgentError(f"Codex cannot be read: {e!r}")
        return await self._child.failed()

    async def _send(self, message: dict[str, Any]) -> None:
        if not await self._child.send(msgspec.json.encode(message) + b"\n"):
            raise await self._why()

    async def _read(self) -> None:
        try:
            async for line in self._child.lines():
                try:
                    message = msgspec.json.decode(line)
                except (ValueError, RecursionError):
                    self._child.noise(line)
                    continue
                if isinstance(message, dict):
                    await self._take(message)
        finally:
            self._told.put_nowait(None)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(_Ended())

    async def _take(self, message: dict[str, Any]) -> None:
        method, id = message.get("method"), message.get("id")
        if method is None:
            future = self._waiting.get(id) if isinstance(id, int) else None
            if future and not future.done():
                if "error" in message:
                    error = message["error"]
                    said = error.get("message") if isinstance(error, dict) else error
                    future.set_exception(_Refused(f"Codex: {said}", 400))
                else:
                    future.set_result(message.get("result") or {})
        elif id is None:
            self._told.put_nowait((method, message.get("params") or {}))
        elif method in _DECLINED:
            await self._send({"id": id, "result": _DECLINED[method]})
        else:
            error = {"code": -32601, "message": "nobody is there to be asked"}
            await self._send({"id": id, "error": error})
