"""A reverse proxy with TLS before a chain, as docs/deploy.md configures it: HAProxy or Caddy."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx

from tests.e2e.chain import ROOT, free_port, poll
from tests.e2e.tls import Authority
from tests.programs import program

#: The name under which the pages in the docs have it.
HOST = "interpose.lan"


def documented(kind: str) -> str:
    """The one configuration of that kind in the docs."""
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", page, re.M | re.S)
    return str(text)


class Front:
    """The proxy before the chain at ``port``; a context manager. ``url`` is where it serves."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._folder = folder
        self._authority = Authority(folder)
        self._authority.context(HOST, "127.0.0.1")
        self._command = self._haproxy(port) if name == "haproxy" else self._caddy(port)
        self._log = folder / f"{name}.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def _haproxy(self, port: int) -> list[str]:
        text = documented("haproxy")
        text = text.replace(":443 ssl", f"127.0.0.1:{self.port} ssl")
        text = text.replace("/etc/haproxy", str(self._folder))
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        (self._folder / "interpose.pem").write_bytes(self._pem)
        file = self._folder / "haproxy.cfg"
        file.write_text(text)
        return [program("haproxy"), "-db", "-f", str(file)]

    def _caddy(self, port: int) -> list[str]:
        text = documented("caddyfile")
        text = text.replace(f"{HOST} {{", f"https://{HOST}:{self.port}, {self.url} {{")
        text = text.replace("/etc/caddy", str(self._folder))
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        key, mark, cert = self._pem.partition(b"-----BEGIN CERTIFICATE-----")
        (self._folder / "interpose.key").write_bytes(key)
        (self._folder / "interpose.pem").write_bytes(mark + cert)
        file = self._folder / "Caddyfile"
        file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        return [program("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]

    @property
    def _pem(self) -> bytes:
        return (self._folder / f"{HOST}.pem").read_bytes()

    def __enter__(self) -> Self:
        env = {**os.environ, "HOME": str(self._folder), "XDG_DATA_HOME": str(self._folder)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
            )
        try:
            poll(self._serves, 30, f"{self.name}: {self._command}")
        except BaseException:
            self.__exit__()
            raise AssertionError(self.log()) from None
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self) -> str:
        """What the proxy has said."""
        return self._log.read_text(errors="replace")

    def _serves(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        with self.client() as client:
            return client.get("/health/ready").status_code == 200

    def tls(self) -> ssl.SSLContext:
        """What trusts its certificate."""
        return ssl.create_default_context(cafile=str(self._authority.pem))

    def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
        """Somebody who calls from that address of the loopback, over TLS."""
        transport = httpx.HTTPTransport(verify=self.tls(), local_address=address)
        named: dict[str, Any] = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.Client(base_url=self.url, transport=transport, headers=named, timeout=20)
