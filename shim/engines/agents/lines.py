"""Any agent that prints a JSON object per line, as its entry in the policy describes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

from ...policy.agents import Agent, Read
from ...shown import short
from ...turn import Failure, Finish, Reasoning, Text, Usage
from .keeper import GRACE, SIGNALLED
from .process import FAILED, AgentError, Child, environment
from .run import WORD, Activity, Job, Said, Session, Unknown

#: How much of what a tool is given shows.
_LONGEST_NAME = 500
#: Bytes of a prompt on a command line; Linux takes no longer words.
_LONGEST_WORD = 120_000
#: Seconds that an agent may take to say whether it is ready.
_READY = 20.0


async def run(agent: Agent, job: Job) -> AsyncGenerator[Said]:
    """What the agent says to ``job``. AgentError when it fails, Unknown when it ends with an error
    before it has named the session that it was to go on with."""
    words = command(agent, job)
    by_stdin = agent.prompt == "stdin"
    prompt = _prompt(agent, job)
    if not by_stdin:
        words.append(_word(prompt))
    child = await Child.start(words, cwd=str(job.cwd), env=environment(agent.env), prompt=by_stdin)
    heard = Heard(agent.reads)
    patience = 0.0
    try:
        if by_stdin:
            # One that does not read it may still say why.
            await child.send(prompt.encode("utf-8", "replace"), close=True)
        async for line in child.lines():
            try:
                said = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                child.noise(line)
                continue
            for event in heard.line(said):
                if isinstance(event, Failure) and job.session and not heard.begun:
                    raise Unknown(event.message)
                yield event
            if heard.ended:
                patience = GRACE
                return
        if not heard.spoke:
            failed = await child.failed()
            if job.session and not heard.begun and await child.code() < SIGNALLED:
                raise Unknown(str(failed))
            raise failed
        if await child.code():
            raise await child.failed()
        yield heard.used
        yield Finish("stop")
    finally:
        await child.end(patience)


def command(agent: Agent, job: Job) -> list[str]:
    """The command line of a turn, without the prompt."""
    words = list(agent.command)
    values = {"model": job.ask.model, "effort": job.ask.effort, "session": job.session or ""}
    for name, more in (("model", agent.model), ("effort", agent.effort), ("session", agent.resume)):
        if values[name] and more:
            words += [word.replace(f"{{{name}}}", values[name]) for word in more]
    for path in job.images:
        for word in agent.image:
            words.append(word.replace("{path}", str(path)).replace("{folder}", str(path.parent)))
    return words


def _prompt(agent: Agent, job: Job) -> str:
    said = job.prompt
    if job.ask.instructions and not job.session:
        said = f"{job.ask.instructions}\n\n{said}"
    if job.images and not any("{path}" in word for word in agent.image):
        shown = "\n".join(f"Image: {path}" for path in job.images)
        said = f"{said}\n\n{shown}"
    if job.ask.schema is not None:
        schema = msgspec.json.encode(job.ask.schema).decode()
        said += f"\n\nAnswer with JSON that follows this JSON Schema, and nothing else:\n{schema}"
    return said


def _word(prompt: str) -> str:
    """``prompt`` as a word of a command line that is taken for no option."""
    if "\0" in prompt:
        raise AgentError("the prompt holds a NUL character, which this agent cannot take", 400)
    if len(prompt.encode("utf-8", "replace")) > _LONGEST_WORD:
        raise AgentError(f"the prompt is over {_LONGEST_WORD} bytes, too long for this agent", 400)
    return f" {prompt}" if prompt.startswith("-") else prompt


class Heard:
    """Reads lines by their description; what it has heard so far of the turn."""

    def __init__(self, reads: list[Read]) -> None:
        self._reads = reads
        self._session = ""
        self._text = self._apart = False
        self.used = Usage()
        #: Whether it has named its session; has said something; has said that it is done.
        self.begun = False
        self.spoke = False
        self.ended = False

    def line(self, said: Any) -> Iterator[Said]:
        """What the object ``said`` says."""
        found = next((r for r in self._reads if _holds(r, said)), None)
        if found is None:
            return
        for name in _texts(said, found.session)[:1]:
            self.begun = True
            # It will stand on a command line.
            if name != self._session and WORD.fullmatch(name):
                self._session = name
                yield Session(name)
        for text in _texts(said, found.reasoning):
            self.spoke = True
            yield Reasoning(text)
        for text in _names(said, found.activity):
            self.spoke = self._apart = True
            yield Activity(text)
        for text in _texts(said, found.text):
            if self._text and self._apart:
                # What it says before and behind a tool are two messages.
                yield Text("\n\n")
            self.spoke = self._text = True
            self._apart = False
            yield Text(text)
        self._count(found, said)
        if errors := _texts(said, found.error):
            self.ended = True
            yield Failure(short(errors[0], 1000), FAILED, "agent_failed")
            return
        if not self._text:
            for text in _texts(said, found.whole):
                self.spoke = self._text = True
                yield Text(text)
        if found.ends:
            self.ended = self.spoke = True
            yield self.used
            yield Finish("stop")

    def _count(self, read: Read, said: Any) -> None:
        told = [_number(said, p) for p in (read.input_tokens, read.cached_tokens)]
        output = _number(said, read.output_tokens)
        if any(told) or output:
            used = self.used
            self.used = Usage(used.input + told[0], used.cached + told[1], 0, used.output + output)


def _holds(read: Read, said: Any) -> bool:
    for path, value in read.when.items():
        there = list(at(said, path))
        if value not in there and (value is not None or there):
            return False
    return True


def _names(said: Any, path: str | None) -> list[str]:
    """The texts at ``path``; of an object, the names of its fields."""
    found = _texts(said, path)
    if path is not None and not found:
        found = [name for v in at(said, path) if isinstance(v, dict) for name in v]
    return [name[:_LONGEST_NAME] for name in found]


def _texts(said: Any, path: str | None) -> list[str]:
    if path is None:
        return []
    return [str(v) for v in at(said, path) if isinstance(v, str | int | float) and str(v)]


def _number(said: Any, path: str | None) -> int:
    if path is None:
        return 0
    return sum(v for v in at(said, path) if type(v) is int and v > 0)


def at(said: Any, path: str) -> Iterator[Any]:
    """The values at ``path``; of lists, what each of their entries has there."""
    if isinstance(said, list):
        for entry in said:
            yield from at(entry, path)
        return
    if not path:
        yield said
        return
    name, _, rest = path.partition(".")
    if isinstance(said, dict) and name in said:
        yield from at(said[name], rest)


async def ready(agent: Agent, cwd: str) -> str:
    """Why the agent cannot be used now; empty when it can."""
    if not agent.ready:
        return ""
    try:
        async with asyncio.timeout(_READY):
            return await _ready(agent, cwd)
    except TimeoutError:
        return f"{' '.join(agent.ready)} does not answer"
    except AgentError as e:
        return str(e)


async def _ready(agent: Agent, cwd: str) -> str:
    child = await Child.start(agent.ready, cwd=cwd, env=environment(agent.env), prompt=False)
    try:
        async for line in child.lines():
            child.noise(line)
        says, told = agent.ready_says, child.printed()
        if (says is None or says.lower() in told.lower()) and await child.code() == 0:
            return ""
        return agent.login or "it is not ready; log in first"
    finally:
        await child.end()
