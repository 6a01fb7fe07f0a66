"""Random exchanges with secrets planted at random places, in all three client protocols.

The same seed makes the same exchanges. What the upstream says in one is planned with it, so that it
can say secrets that nobody has sent it.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.e2e.answers import SSE, chat_turn, error, messages_turn, responses_turn
from tests.e2e.record_sessions import png
from tests.e2e.upstreams import Answer, Seen
from tests.planted import SECRETS, digits

PROTOCOLS = ("responses", "chat", "messages")
PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}
TURNS = {"chat": chat_turn, "responses": responses_turn, "messages": messages_turn}
SENTENCE = "the build of this service fails in step two since its lock file is too old"


@dataclass
class Ask:
    """One exchange: what the client sends, and what the upstream is to do."""

    number: int
    client: str
    path: str
    headers: dict[str, str]
    body: bytes
    upstream: str
    stream: bool
    say: str
    call: str
    think: str
    status: int
    cut: bool
    packed: bool
    secrets: dict[str, str] = field(default_factory=dict)


class Planter:
    """Makes exchanges from a seed; `planted` has all secrets so far, each with what it is."""

    def __init__(self, seed: int, known: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._kinds = list(SECRETS)
        #: Values of the policy's that an upstream may repeat.
        self._known = known
        self.planted: dict[str, str] = {value: name for name, value in known.items()}

    def ask(self, number: int) -> Ask:
        """The next exchange."""
        r = self._random
        client, upstream = r.choice(PROTOCOLS), r.choice(PROTOCOLS)
        key, note = self._opaque("client key"), self._secret("header")
        headers = {"content-type": "application/json", "x-note": note.replace("\n", " ")}
        kind = r.choice(("authorization", "x-api-key", "x-gateway-token"))
        headers[kind] = f"Bearer {key}" if kind == "authorization" else key
        if r.random() < 0.2:
            headers["cookie"] = f"session={self._opaque('cookie')}"
        query = {}
        if r.random() < 0.3:
            query[r.choice(("key", "token", "access_token"))] = self._opaque("query")
        if r.random() < 0.2:
            query["next"] = self._secret("url")
        path = PATHS[client] + ("?" if query else "")
        path += "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        stream = r.random() < 0.6
        body = self._body(client, upstream, number, stream)
        cut = r.random() < 0.05
        ask = Ask(
            number=number, client=client, path=path, headers=headers, body=body,
            upstream=upstream, stream=stream,
            say=self._text("answer") + r.choice(("", f" Your key is {key}.")),
            call=self._text("call of the answer"),
            think=self._text("thought"),
            status=r.choice((200,) * 7 + (400, 401, 404)),
            cut=cut, packed=r.random() < 0.1,
        )  # fmt: skip
        if r.random() < 0.3:
            ask.say += f" And mine: {r.choice(list(self._known.values()))}."
        if r.random() < 0.1:
            ask.headers["content-encoding"] = "gzip"
            ask.body = gzip.compress(ask.body)
        if cut:
            # Half a secret does not look like one.
            ask.say = ask.call = ask.think = SENTENCE
        return ask

    def _opaque(self, what: str) -> str:
        """A secret of no known shape: only its place tells that it is one."""
        return self._note(digits(self._random, 24), what)

    def _secret(self, where: str, kind: str = "") -> str:
        kind = kind or self._kinds[len(self.planted) % len(self._kinds)]
        return self._note(SECRETS[kind](self._random), f"{kind} in {where}")

    def _note(self, secret: str, what: str) -> str:
        self.planted[secret] = what
        return secret

    def _text(self, where: str) -> str:
        """Some words with a secret in them, written in one of the ways that occur."""
        r = self._random
        secret = self._secret(where)
        if not r.randrange(3):
            said = f"it is {secret} here"
            binary = _encoded(said, r, b"\xff\xd7\0\1")
            secret = r.choice((quote(said, safe=""), _encoded(said, r), binary))
        before = " ".join(r.choices(SENTENCE.split(), k=r.randrange(12)))
        after = " ".join(r.choices(SENTENCE.split(), k=r.randrange(12)))
        return f"{before}\n{secret}\n{after}" if r.random() < 0.5 else f"{before} {secret} {after}"

    def _picture(self) -> str:
        """A picture with secrets in what it tells besides, in Base64."""
        r = self._random
        said = self._text("a picture").encode("utf-8")
        parts = {
            b"tEXt": b"Comment\0" + said,
            b"zTXt": b"Comment\0\0" + zlib.compress(said),
            b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + said,
            b"eXIf": b"MM\0*" + said,
        }
        whole = png(r.randrange(1, 9), r.randrange(1, 9))
        if r.random() < 0.4:
            segment = r.choice((b"\xff\xe1", b"\xff\xfe"))
            head = b"Exif\0\0" + said
            jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
            jpeg += segment + struct.pack(">H", 2 + len(head)) + head
            return base64.b64encode(jpeg + b"\xff\xda\0\2\1\2\3\xff\xd9").decode()
        kind = r.choice(list(parts))
        data = parts[kind]
        chunk = struct.pack(">I", len(data)) + kind + data
        chunk += struct.pack(">I", zlib.crc32(kind + data))
        return base64.b64encode(whole[:33] + chunk + whole[33:]).decode()

    def _body(self, client: str, upstream: str, number: int, stream: bool) -> bytes:
        r = self._random
        said = f"Exchange {number}. {self._text('what the user said')}"
        picture = self._picture() if r.random() < 0.35 else ""
        told = self._text("instructions") if r.random() < 0.3 else "You work here."
        arguments = {"cmd": self._text("a call"), "env": {"deep": [self._text("a call's depth")]}}
        output = self._text("a tool's output")
        body = BODIES[client](f"m-{upstream}", told, said, arguments, output, picture)
        body["stream"] = stream
        made = json.dumps(body, ensure_ascii=r.random() < 0.5)
        if r.random() < 0.2:
            # What some encoders escape though they need not.
            made = re.sub(r"[&=+<>']", lambda m: f"\\u{ord(m[0]):04x}", made).replace("/", "\\/")
        return made.encode()


def _encoded(said: str, r: random.Random, before: bytes = b"") -> str:
    """In Base64, at one of the three places, broken into lines or as URLs have it."""
    data = before + b"." * r.randrange(3) + said.encode()
    if r.random() < 0.3:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")
    return (
        base64.encodebytes(data).decode() if r.random() < 0.5 else base64.b64encode(data).decode()
    )


def _responses(
    model: str, told: str, said: str, arguments: Any, output: str, picture: str
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "input_text", "text": said}]
    if picture:
        kind = "jpeg" if picture.startswith("/9j/") else "png"
        url = f"data:image/{kind};base64,{picture}"
        content.append({"type": "input_image", "image_url": url})
    call = {"type": "function_call", "call_id": "call_a", "name": "run"}
    given = [
        {"type": "message", "role": "user", "content": content},
        {**call, "arguments": json.dumps(arguments)},
        {"type": "function_call_output", "call_id": "call_a", "output": output},
    ]
    tool = {"type": "function", "name": "run", "parameters": {"type": "object"}}
    return {"model": model, "instructions": told, "input": given, "tools": [tool]}


def _chat(
    model: str, told: str, said: str, arguments: Any, output: str, picture: str
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said}]
    if picture:
        kind = "jpeg" if picture.startswith("/9j/") else "png"
        url = {"url": f"data:image/{kind};base64,{picture}"}
        content.append({"type": "image_url", "image_url": url})
    function = {"name": "run", "arguments": json.dumps(arguments)}
    messages = [
        {"role": "system", "content": told},
        {"role": "user", "content": content},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_a", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": output},
    ]
    tool = {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}
    return {"model": model, "messages": messages, "tools": [tool]}


def _messages(
    model: str, told: str, said: str, arguments: Any, output: str, picture: str
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said}]
    if picture:
        kind = "image/jpeg" if picture.startswith("/9j/") else "image/png"
        source = {"type": "base64", "media_type": kind, "data": picture}
        content.append({"type": "image", "source": source})
    use = {"type": "tool_use", "id": "toolu_a", "name": "run", "input": arguments}
    result = {"type": "tool_result", "tool_use_id": "toolu_a", "content": output}
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "run", "input_schema": {"type": "object"}}
    return {
        "model": model, "max_tokens": 99, "system": told, "messages": messages, "tools": [tool]
    }  # fmt: skip


BODIES = {"responses": _responses, "chat": _chat, "messages": _messages}


def answer(upstream: str, asks: dict[int, Ask], seen: Seen) -> Answer:
    """What the upstream does: as planned; an error repeats all that it was sent, keys too."""
    found = re.search(rb"Exchange (\d+)\.", seen.body)
    if found is None:
        return Answer(404)
    ask = asks[int(found[1])]
    echo = " ".join(f"{name}: {value}" for name, value in seen.headers.items())
    headers = {"x-echo": echo, "set-cookie": f"s={ask.headers.get('x-api-key', 'none')}"}
    if ask.status != 200:
        return error(ask.status, f"{ask.say} You sent {seen.path} {echo}", headers=headers)
    calls = [("call_b", "run", {"cmd": ask.call, "list": [ask.call]})]
    thinking: list[Any] = {
        "chat": [{"reasoning_content": ask.think}],
        "responses": [],
        "messages": [{"type": "thinking", "thinking": ask.think, "signature": "c2lnbmVk"}],
    }[upstream]
    made = TURNS[upstream](ask.say, calls, thinking, ask.stream, f"id_{ask.number}")
    headers = {**made.headers, **headers}
    if ask.stream and ask.cut:
        return Answer(200, {**SSE, **headers}, made.chunks[:-3], cut="body")
    if ask.packed and not ask.stream:
        data = gzip.compress(b"".join(made.chunks))
        return Answer(200, {**headers, "content-encoding": "gzip"}, [data])
    return Answer(made.status, headers, made.chunks)
