"""Calls as Gemma writes them: a name and braces, with texts between quotes of its own."""

from __future__ import annotations

import json
import re
from typing import Any

from .base import MORE, Call, Dialect, Reading, dumps

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_KEY = re.compile(r"\s*\"?([^\s:\"{},]+)\"?\s*:")


class _Bad(ValueError):
    pass


class _Reader:
    """Reads one value after the other; ``quote`` stands on both ends of a text."""

    def __init__(self, text: str, quote: str) -> None:
        self.text, self.quote, self.at = text, quote, 0

    def space(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def value(self, depth: int = 0) -> Any:
        self.space()
        text, at = self.text, self.at
        if depth > 40:
            raise _Bad
        if text.startswith(self.quote, at):
            begin = at + len(self.quote)
            end = text.find(self.quote, begin)
            if end < 0:
                raise _Bad
            self.at = end + len(self.quote)
            return text[begin:end]
        if text.startswith('"', at):
            value, self.at = json.JSONDecoder(strict=False).raw_decode(text, at)
            return value
        if text.startswith("{", at):
            return self.object(depth + 1)
        if text.startswith("[", at):
            return self.list(depth + 1)
        for word, value in (("true", True), ("false", False), ("null", None)):
            if text.startswith(word, at):
                self.at += len(word)
                return value
        number = _NUMBER.match(text, at)
        if not number:
            raise _Bad
        self.at = number.end()
        return json.loads(number[0])

    def object(self, depth: int = 0) -> dict[str, Any]:
        self.at += 1
        made: dict[str, Any] = {}
        while True:
            self.space()
            if self.text.startswith("}", self.at):
                self.at += 1
                return made
            key = _KEY.match(self.text, self.at)
            if not key or key[1] in made:
                raise _Bad
            self.at = key.end()
            made[key[1]] = self.value(depth)
            self.comma("}")

    def list(self, depth: int) -> list[Any]:
        self.at += 1
        made: list[Any] = []
        while True:
            self.space()
            if self.text.startswith("]", self.at):
                self.at += 1
                return made
            made.append(self.value(depth))
            self.comma("]")

    def comma(self, end: str) -> None:
        self.space()
        if self.text.startswith(",", self.at):
            self.at += 1
        elif not self.text.startswith(end, self.at):
            raise _Bad


def _written(value: Any, quote: str) -> str:
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_written(v, quote)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(v, quote) for v in value) + "]"
    return dumps(value)


def _dialect(name: str, families: str, begin: str, end: str, quote: str) -> Dialect:
    head = re.compile(rf"\s*(?:{re.escape(begin)})?\s*call:\s*([\w.\-/:]+?)\s*(?=\{{)")

    def read(text: str, last: bool) -> Reading:
        calls: list[Call] = []
        at = 0
        while text[at:].strip():
            match = head.match(text, at)
            if not match:
                return None
            reader = _Reader(text, quote)
            reader.at = match.end()
            try:
                calls.append((match[1], reader.object()))
            except (_Bad, ValueError):
                return None if last or text.count(quote) % 2 == 0 else MORE
            reader.space()
            if text.startswith(end, reader.at):
                reader.at += len(end)
            elif not last:
                return None
            at = reader.at
        return calls or None

    def write(tool: str, arguments: dict[str, Any]) -> str:
        return f"{begin}call:{tool}{_written(arguments, quote)}{end}"

    return Dialect(name, families, (begin,), (end,), read, write)


FUNCTION_GEMMA = _dialect(
    "functiongemma", "FunctionGemma", "<start_function_call>", "<end_function_call>", "<escape>"
)
GEMMA4 = _dialect("gemma4", "Gemma 4", "<|tool_call>", "<tool_call|>", '<|"|>')
