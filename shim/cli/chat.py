"""`interpose chat`: talk with a model or an agent of the policy in the terminal."""

from __future__ import annotations

import argparse
import base64
import json
import mimetypes
import sys
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from ..shown import plain
from ..wire.sse import SSEDecoder
from . import UserError
from .chain import Chain, add_chain_arguments, options
from .choice import DEMO, for_chain
from .screen import Screen

_HELP = "/reset begins anew, /model NAME changes the model, /image FILE shows one, /exit ends"
_LARGEST = 20 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_chain_arguments(parser)
    parser.add_argument(
        "--url",
        help="a chain that runs already, such as http://127.0.0.1:8080/v1, not one of its own",
    )
    parser.add_argument("--key", default="any", help="the client key that it wants, if it does")
    parser.epilog = (
        f"In the chat: {_HELP}. Without a terminal, each line of stdin is a message. {DEMO}"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 1 when the last answer failed."""
    import httpx

    opts, note = options(args), ""
    if not args.url:
        opts, note = for_chain(opts, opts.load())
    if note:
        print(f"interpose: {note}", file=sys.stderr, flush=True)
    chain: AbstractContextManager[Chain | None] = nullcontext() if args.url else Chain(opts)
    # A chain on this machine is reached directly, whatever proxy is set.
    with (
        chain as own,
        httpx.Client(trust_env=False, timeout=httpx.Timeout(30, read=None)) as client,
    ):
        url = (args.url or (own.url if own else "")).rstrip("/")
        model = args.model or opts.model or _first(client, url, args.key)
        talk = Talk(client, url, args.key, model)
        return Terminal(talk, Screen(), sys.stdin).run()


def _first(client: Any, url: str, key: str) -> str:
    """The model to talk to when none is named: the only one there, or the default."""
    import httpx

    try:
        answer = client.get(f"{url}/models", headers={"authorization": f"Bearer {key}"})
        names = [model["id"] for model in answer.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        raise UserError(f"no chain answers at {url}") from None
    if not names:
        raise UserError("the policy names no model; name one with --model")
    return str(names[0])


class Refused(Exception):
    """An answer that is an error, in its own words."""


class Talk:
    """A conversation: what was said is sent again with each turn, under one session."""

    def __init__(self, client: Any, url: str, key: str, model: str) -> None:
        self._client, self._url, self._key = client, url, key
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self._session = str(uuid.uuid4())
        self._said: list[dict[str, Any]] = []
        self._images: list[str] = []

    def show(self, path: Path) -> None:
        """Have ``path``, an image, go with the next message. UserError when it cannot."""
        kind = mimetypes.guess_type(path.name)[0] or ""
        if not kind.startswith("image/"):
            raise UserError(f"{path} is no image by its name")
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is larger than {_LARGEST // 1024 // 1024} MB")
        self._images.append(f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}")

    def ask(self, text: str) -> Iterator[tuple[str, str]]:
        """The answer to ``text`` in pieces: ("reasoning" or "text", piece). Refused when it fails.

        A turn that fails or is broken off leaves the conversation as it was.
        """
        import httpx

        parts = [{"type": "image_url", "image_url": {"url": url}} for url in self._images]
        content: Any = [{"type": "text", "text": text}, *parts] if parts else text
        asked = [*self._said, {"role": "user", "content": content}]
        body = {"model": self.model, "messages": asked, "stream": True}
        headers = {"authorization": f"Bearer {self._key}", "x-session-id": self._session}
        said: list[str] = []
        try:
            with self._client.stream(
                "POST", f"{self._url}/chat/completions", json=body, headers=headers
            ) as answer:
                if answer.status_code != 200:
                    raise Refused(_words(answer.read(), answer.status_code))
                for kind, piece in _pieces(answer.iter_bytes()):
                    if kind == "text":
                        said.append(piece)
                    yield kind, piece
        except httpx.HTTPError as e:
            raise Refused(f"the chain does not answer: {e or type(e).__name__}") from None
        self._said = [*asked, {"role": "assistant", "content": "".join(said)}]
        self._images = []


def _pieces(answer: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    events, ended = SSEDecoder(), False
    for data in answer:
        for name, said in events.feed(data):
            if name is None:
                continue
            if said == b"[DONE]":
                ended = True
                continue
            chunk = json.loads(said)
            if "error" in chunk:
                raise Refused(_words(said, 0))
            for choice in chunk.get("choices") or ():
                delta = choice.get("delta") or {}
                if piece := delta.get("reasoning_content"):
                    yield "reasoning", piece
                if piece := delta.get("content") or delta.get("refusal"):
                    yield "text", piece
                ended = ended or bool(choice.get("finish_reason"))
    if not ended:
        raise Refused("the answer broke off")


def _words(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


class Terminal:
    """The chat as somebody sees it; ``source`` is where the lines come from."""

    def __init__(self, talk: Talk, console: Console, source: TextIO) -> None:
        self._talk, self._console, self._source = talk, console, source
        self._asks = source.isatty() and console.is_terminal
        self._failed = False

    def run(self) -> int:
        """Until /exit or the end of input; 1 when the last turn failed."""
        if self._asks:
            self._say(f"Talking to {self._talk.model}. {_HELP}.")
        while (line := self._line()) is not None:
            if line.startswith("/"):
                if not self._command(*line.split(maxsplit=1)):
                    break
            elif line:
                self._turn(line)
        return int(self._failed)

    def _line(self) -> str | None:
        try:
            line = input("> ") if self._asks else self._source.readline()
        except (EOFError, KeyboardInterrupt):
            self._console.print()
            return None
        return line.strip() if line or self._asks else None

    def _command(self, name: str, rest: str = "") -> bool:
        """Whether the chat goes on."""
        if name == "/exit":
            return False
        if name == "/reset":
            self._talk.reset()
            self._say("Begun anew.")
        elif name == "/model" and rest:
            self._talk.model = rest
            self._say(f"Talking to {rest}.")
        elif name == "/image" and rest:
            try:
                self._talk.show(Path(rest).expanduser())
                self._say("It goes with your next message.")
            except (UserError, OSError) as e:
                self._wrong(getattr(e, "strerror", None) or str(e))
        else:
            self._say(f"{_HELP}.")
        return True

    def _turn(self, text: str) -> None:
        last = ""
        try:
            for kind, piece in self._talk.ask(text):
                if last == "reasoning" and kind == "text":
                    self._console.print("\n")
                style = "dim" if kind == "reasoning" else ""
                self._console.print(
                    plain(piece, "\n\t"), style=style, end="", markup=False, soft_wrap=True
                )
                last = kind
            self._failed = False
            self._console.print()
        except Refused as e:
            self._wrong(str(e))
        except KeyboardInterrupt:
            self._wrong("broken off")

    def _wrong(self, why: str) -> None:
        self._failed = True
        self._console.print(f"\n{plain(why, '\n\t')}", style="red", markup=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(plain(text, "\n\t"), style="dim", markup=False, soft_wrap=True)
