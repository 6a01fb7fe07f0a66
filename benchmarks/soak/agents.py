"""Agents at work: sessions whose history grows with each turn, that end, and others after them.

What they send is kept as pieces of JSON, so that the load costs little beside what is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sysconfig
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from benchmarks.bodies import as_json, messages_of, step_of, tools
from benchmarks.load import FIRST

#: What agents read: all of the standard library, for packed files are as small as texts are alike.
SOURCE = [
    line
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/[a-z]*.py"))
    if "test" not in str(path) and "site-packages" not in str(path)
    for line in path.read_text("utf-8", "replace").splitlines()
]
TURNS = 30
#: Bytes that a history grows by with a turn: a session ends with 200 to 400 KB.
_GROWS = (6_500, 12_500)
#: Seconds between an answer and the next turn.
THINKS = (1.0, 7.0)
#: One turn in so many is given up by its user, fails upstream, or breaks off there.
_ODD = {"left": 25, "failing": 40, "cut": 40}
_WHOLE = (b'"response.completed"', b'"message_stop"')
_TOLD = (b'"response.failed"', b'"error"')
_ID = re.compile(rb'"id": ?"(resp_[^"]+)"')

type Kind = Literal["codex", "stored", "messages"]
_KINDS: tuple[Kind, ...] = ("codex", "codex", "stored", "codex", "messages")


class Agent:
    """One session. ``stored`` ones continue by the id of the last answer and send what is new."""

    def __init__(self, number: int) -> None:
        self._chance = chance = random.Random(number)
        self.kind: Kind = _KINDS[number % len(_KINDS)]
        self.thread = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self.turns = 0
        #: Bytes that were sent in all.
        self.sent = 0
        self._step = 0
        self._grows = chance.randrange(*_GROWS)
        self._key = f"sk-proj-{chance.getrandbits(160):040x}"
        start = chance.randrange(len(SOURCE) - 220)
        words = [f"You are a coding agent.\n{self._text(start, 200)}", f"Task {number}: mend it."]
        self._items = [
            as_json({"type": "message", "role": role, "content": [_input(text)]})
            for role, text in zip(("developer", "user"), words, strict=True)
        ]
        self._new = list(self._items)
        self._previous = ""

    def body(self, model: str) -> bytes:
        """The request of the turn to come."""
        said = {"model": model, "stream": True, "store": self.kind == "stored", "tools": _TOOLS}
        said |= {"tool_choice": "auto", "parallel_tool_calls": True, "reasoning": {}}
        if self._previous:
            said["previous_response_id"] = self._previous
        items = self._new if self._previous else self._items
        made = as_json(said)[:-1] + b',"input":[' + b",".join(items) + b"]}"
        return messages_of(made, model) if self.kind == "messages" else made

    def answered(self, answer: bytes) -> None:
        """The turn is over: what was said and done comes into the history."""
        self.turns += 1
        self._new = []
        if self.kind == "stored" and (id := _ID.search(answer)):
            self._previous = id[1].decode()
        else:
            text = {"type": "output_text", "text": "word " * 200}
            self._items.append(as_json({"type": "message", "role": "assistant", "content": [text]}))
        self.grow()

    def grow(self) -> None:
        """Some calls with their outputs; now and then one prints a key."""
        left = self._grows
        while left > 0:
            self._step += 1
            start, count = self._chance.randrange(len(SOURCE) - 90), self._chance.randrange(5, 90)
            lines = SOURCE[start : start + count]
            if self._step % 10 == 0:
                lines = [f"API_KEY={self._key}", *lines]
            items = [as_json(item) for item in step_of(self._step, start, lines, left + 1_000)]
            self._items += items
            self._new += items
            left -= sum(map(len, items))

    def _text(self, start: int, count: int) -> str:
        return "\n".join(SOURCE[start : start + count])


class Load:
    """``sessions`` side by side against the chain on ``port``, until ``over`` says so.

    ``thinks`` is how long each waits between its turns. ``came`` counts what became of the turns,
    ``wrong`` holds answers that should not have been.
    """

    def __init__(
        self,
        port: int,
        sessions: int,
        key: str,
        over: Callable[[], bool],
        thinks: tuple[float, float] = THINKS,
    ) -> None:
        self._port, self._sessions, self._key, self._over = port, sessions, key, over
        self._thinks = thinks
        self._number = 0
        self.came: Counter[str] = Counter()
        self.begun = 0
        self.sent = 0
        self.wrong: list[str] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._slot(n) for n in range(self._sessions)))

    async def _slot(self, number: int) -> None:
        chance = random.Random(number)
        # At any moment sessions are of all ages; so they are from the beginning.
        age = chance.randrange(TURNS)
        await asyncio.sleep(chance.uniform(0, self._thinks[1]))
        while not self._over():
            self._number += 1
            agent = Agent(self._number)
            self.begun += 1
            for _ in range(age):
                agent.grow()
            for _ in range(TURNS - age):
                if self._over():
                    return
                await self._turn(agent, chance)
                await asyncio.sleep(chance.uniform(*self._thinks))
            age = 0

    async def _turn(self, agent: Agent, chance: random.Random) -> None:
        how = next((name for name, one_in in _ODD.items() if not chance.randrange(one_in)), "")
        usual = "claude" if agent.kind == "messages" else "m"
        body = agent.body(how if how in ("failing", "cut") else usual)
        self.sent += len(body)
        try:
            answer = await asyncio.wait_for(self._ask(agent, body, how == "left"), 120)
        except (TimeoutError, OSError) as e:
            answer = repr(e).encode()
        if any(mark in answer for mark in _WHOLE):
            self.came["answered"] += 1
            agent.answered(answer)
        elif how == "left" and FIRST in answer:
            self.came["left by the client"] += 1
        elif how == "failing" and any(mark in answer for mark in _TOLD):
            self.came["refused upstream"] += 1
        elif how == "cut" and FIRST in answer:
            self.came["broken off upstream"] += 1
        else:
            self.came["wrong"] += 1
            self.wrong.append(f"{how or usual}: {answer[-600:].decode('utf-8', 'replace')}")

    async def _ask(self, agent: Agent, body: bytes, leaves: bool) -> bytes:
        """The whole answer, or what came of it until the client ``leaves``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        path, who = (
            "/v1/responses",
            (
                f"user-agent: codex_exec/0.169.0\r\noriginator: codex_exec\r\n"
                f"authorization: Bearer {self._key}\r\nthread-id: {agent.thread}"
            ),
        )
        if agent.kind == "messages":
            path, who = "/v1/messages", f"user-agent: claude-cli/2.0\r\nx-api-key: {self._key}"
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n{who}\r\n"
            f"session-id: {agent.thread}\r\ncontent-type: application/json\r\n"
            f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        answer = b""
        try:
            writer.write(head.encode() + body)
            while data := await reader.read(1 << 16):
                answer += data
                if leaves and FIRST in answer:
                    break
        finally:
            writer.close()
        return answer


def _input(text: str) -> dict[str, str]:
    return {"type": "input_text", "text": text}


_TOOLS = json.loads(as_json(tools()))
