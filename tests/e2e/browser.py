"""A headless Chromium, driven over a pipe (Chrome DevTools Protocol): no driver is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tests.programs import found

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell")


def chromium() -> str | None:
    """The Chromium on this machine, by the variable CHROMIUM or on PATH; None without one."""
    return os.environ.get("CHROMIUM") or found(*_NAMES)


class BrowserError(AssertionError):
    """The page did not do what was asked."""


class Browser:
    """One window with one page; a context manager."""

    def __init__(self, binary: str, width: int = 1280, height: int = 800) -> None:
        self._home = tempfile.mkdtemp(prefix="interpose-browser-")
        (first, self._to), (self._from, second) = os.pipe(), os.pipe()
        asks, answers = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (first, second))
        os.close(first)
        os.close(second)

        def connect() -> None:
            # Chromium reads commands from descriptor 3 and writes to 4.
            os.dup2(asks, 3)
            os.dup2(answers, 4)

        self._process = subprocess.Popen(
            [
                *(binary, "--headless=new", "--remote-debugging-pipe"),
                *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=127.0.0.1"),
                *(f"--user-data-dir={self._home}", f"--window-size={width},{height}"),
                "about:blank",
            ],
            close_fds=False,
            preexec_fn=connect,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(asks)
        os.close(answers)
        #: What the browser told unasked, such as the requests it made.
        self.events: list[dict[str, Any]] = []
        self._rest = b""
        self._count = 0
        self._session: str | None = None
        self._size = (width, height)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        width, height = self._size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._home, ignore_errors=True)

    def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and its result."""
        self._count += 1
        asked = {"id": self._count, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._count:
                if "error" in told:
                    raise BrowserError(f"{method}: {told['error']}")
                return told["result"]
            self.events.append(told)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What ``script`` comes to in the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in told:
            raise BrowserError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """The first true value of ``script``; BrowserError with the page's text after a while."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                text = self.run("document.body.innerText")
                raise BrowserError(f"in vain for {script}; the page says:\n{text}")
            time.sleep(0.05)
        return value

    def press(self, key: str, code: int, text: str = "", *, shift: bool = False) -> None:
        """Press a key and let it go; ``code`` is its virtual key code."""
        named = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **named, **down)
        self.call("Input.dispatchKeyEvent", **named, type="keyUp")

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], 30)[0]:
                raise BrowserError("the browser says nothing")
            piece = os.read(self._from, 1 << 16)
            if not piece:
                raise BrowserError("the browser has ended")
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))
