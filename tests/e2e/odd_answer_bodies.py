"""Odd bodies of providers' answers under a good head: whole ones, and streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.odd_answers import JSON, SSE, Ends, Reply, good, head
from tests.e2e.odd_upstream import Script
from tests.e2e.raw_http import chunked

_DEEP = b"[" * 3000 + b"]" * 3000


def bodies(protocol: str) -> list[Reply]:
    """Whole bodies, for those who asked for a whole answer and for a stream."""
    text = good(protocol, False)
    answer: Any = json.loads(text)
    texts: dict[str, tuple[bytes, Ends]] = {
        "empty": (b"", "failure"),
        "blank": (b"  \n", "failure"),
        "no JSON": (b"upstream connect error", "failure"),
        "cut JSON": (text[:-7], "failure"),
        "null": (b"null", "failure"),
        "list": (b"[]", "failure"),
        "number": (b"7", "failure"),
        "string": (b'"fine words"', "failure"),
        "an empty object": (b"{}", "failure"),
        "deep": (_DEEP, "failure"),
        "deep in it": (text[:-1] + b',"x":' + _DEEP + b"}", "either"),
        "HTML": (b"<html><title>Sign in</title><body>x</body></html>", "failure"),
        "UTF-8 broken": (text.replace(b"fine", b"fi\xff"), "either"),
        "BOM": (b"\xef\xbb\xbf" + text, "either"),
        "UTF-16": (text.decode().encode("utf-16"), "failure"),
        "lone surrogate": (text.replace(b"fine", rb"fi\ud800"), "either"),
        "1e999": (text[:-1] + b',"x":1e999}', "either"),
        "NaN": (text[:-1] + b',"x":NaN}', "either"),
        "huge integer": (text[:-1] + b',"created":' + b"9" * 400 + b"}", "either"),
        "two objects": (text * 2, "either"),
        "an error": (b'{"error":{"message":"no credit","type":"insufficient_quota"}}', "failure"),
        "an error of odd types": (b'{"error":{"message":[7,{"a":null}],"type":{},"code":[1]}}', "failure"),
        "an error that is a number": (b'{"error":7}', "failure"),
        "a big body": (json.dumps({**answer, "x": "y" * 3_000_000}).encode(), "either"),
    }  # fmt: skip
    values = {"null": None, "a number": 7, "a list": [7], "a string": "x", "an object": {"a": 1}}
    for key in answer:
        for kind, value in values.items():
            made = json.dumps({**answer, key: value}).encode()
            texts[f"{key} is {kind}"] = (made, "either")
    return [
        Reply(name, protocol, stream, Script([head(200, JSON, length=len(made)) + made]), ends)
        for name, (made, ends) in texts.items()
        for stream in (False, True)
    ]


_EVENTS = {
    "no JSON": b"data: hello\n\n",
    "cut JSON": b'data: {"a":\n\n',
    "UTF-8 broken": b'data: {"type":"x\xff"}\n\n',
    "a list": b"data: []\n\n",
    "a number": b"data: 7\n\n",
    "null": b"data: null\n\n",
    "an empty object": b"data: {}\n\n",
    "empty data": b"data:\n\n",
    "deep": b"data: " + _DEEP + b"\n\n",
    "a novel event": b'event: novel\ndata: {"type":"novel","a":[1]}\n\n',
    "a comment": b": hello\n\n",
    "a comment of a megabyte": b": " + b"x" * 1_000_000 + b"\n\n",
    "NUL": b"\0\0\0\n\n",
    "HTML": b"<html><title>Sign in</title></html>\n\n",
    "an error": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"too busy"}}\n\n',
    "an error of odd types": b'data: {"error":{"message":7,"code":[],"type":null}}\n\n',
    "a novel field": b"retry: 5\nid: 7\nfoo: bar\n\n",
    "a huge line": b'data: {"type":"novel","x":"' + b"y" * 2_000_000 + b'"}\n\n',
}


def streams(protocol: str) -> list[Reply]:
    """Streams: cut, garbled, doubled, with endless lines."""
    events = [e + b"\n\n" for e in good(protocol, True).split(b"\n\n") if e.strip()]
    found: list[Reply] = []

    def add(
        name: str,
        pieces: Sequence[bytes],
        ends: Ends = "either",
        then: Any = "stay",
        *,
        framed: bool = True,
    ) -> None:
        sent = [head(200, SSE, chunks=True), *(chunked(p, end=b"") for p in pieces if p)]
        if framed:
            sent.append(b"0\r\n\r\n")
        found.append(Reply(f"{name}, in events", protocol, True, Script(sent, then), ends))

    whole = b"".join(events)
    half = len(events) // 2
    cuts: dict[str, Callable[[bytes], bytes]] = {
        "cut in the first event": lambda b: b[:20],
        "cut in the middle": lambda b: b[: len(b) // 2],
        "cut before the end": lambda b: b[:-30],
        "cut behind an event": lambda b: b"".join(events[:half]),
    }
    for name, cut in cuts.items():
        for then in ("end", "reset"):
            add(f"{name}, {then}", [cut(whole)], "failure", then, framed=False)
        # What is left of the last event may be all that a provider leaves out.
        add(f"{name}, well ended", [cut(whole)], "either" if "before" in name else "failure")
    for name, event in _EVENTS.items():
        add(f"{name} first", [event, *events])
        add(f"{name} in the middle", [*events[:half], event, *events[half:]])
        add(f"{name} last", [*events, event])
    add("an event twice", [*events[:half], events[half], *events[half:]])
    add("the end first", [events[-1], *events])
    add("all twice", [*events, *events])
    add("no end", events[:-1])
    add("no last two", events[:-2])
    add("nothing", [], "failure")
    add("only a blank line", [b"\n\n"], "failure")
    add("two in one line", [whole.replace(b"}\n\ndata: {", b"}{", 1)])
    add("blank lines missing", [whole.replace(b"\n\n", b"\n")])
    add("CRLF", [whole.replace(b"\n", b"\r\n")], "answer")
    add("CR", [whole.replace(b"\n", b"\r")], "answer")
    add("BOM", [b"\xef\xbb\xbf" + whole], "answer")
    add("no blank behind data", [whole.replace(b"data: ", b"data:")], "answer")
    add("byte by byte", [*(bytes([b]) for b in whole[:60]), whole[60:]], "answer")
    add("data behind the end", [*events, b'data: {"type":"more"}\n\n', b"garbage"])
    return found
