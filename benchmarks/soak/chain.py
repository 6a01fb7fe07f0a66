"""The chain that is soaked: a real mitmdump or mitmweb, its clock, its policy and its limits."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.systems import KEY, ROOT, System, free_port

#: Seconds on the chain's clock for one outside.
RATE = 160
_POLICY = """
providers:
  up: {{ base_url: 'http://127.0.0.1:{port}/paced/v1', key: {key}, protocol: chat }}
  talks: {{ base_url: 'http://127.0.0.1:{port}/paced/v1', key: {key}, protocol: messages }}
  failing: {{ base_url: 'http://127.0.0.1:{port}/failing/v1', key: {key}, protocol: chat }}
  cut: {{ base_url: 'http://127.0.0.1:{port}/cut/v1', key: {key}, protocol: chat }}
models:
  m: {{ provider: up, price: {{ input: 1, output: 2 }} }}
  claude: {{ provider: talks, model: m }}
  failing: {{ provider: failing, model: m }}
  cut: {{ provider: cut, model: m }}
catch:
  - {{ name: long, when: {{ role: tool, larger_than: 8kb }}, cap: 8kb }}
redact:
  - {{ name: keys, use: api-keys }}
limits:
  - {{ name: session, per: session, tokens: 1000M, then: warn }}
dedup: {{}}
cache: {{}}
repair: {{}}
default: m
"""


class Soaked(System):
    """The chain with every stage on, recording to ``records``; ``begins`` is what its clock shows
    when it starts, in seconds since 1970."""

    name = "interpose"

    def __init__(
        self,
        upstream: int,
        records: Path,
        begins: float,
        options: Mapping[str, str],
        tool: str = "mitmdump",
    ) -> None:
        super().__init__(upstream)
        self._records, self._begins, self._options, self._tool = records, begins, options, tool
        self._started = 0.0

    def command(self) -> list[str]:
        policy = self.folder / "policy.yaml"
        policy.write_text(_POLICY.format(port=self.upstream, key=KEY))
        words = [str(ROOT / ".venv" / "bin" / self._tool), "-s", str(ROOT / "addons" / "main.py")]
        words += ["--mode", "reverse:http://127.0.0.1:9", "--listen-host", "127.0.0.1"]
        words += ["--listen-port", str(self.port)]
        if self._tool == "mitmweb":
            words += ["--no-web-open-browser", "--web-port", str(free_port())]
        options = {"policy": str(policy), "record_dir": str(self._records), **self._options}
        for name, value in {"confdir": f"{self.folder}/conf", **options}.items():
            words += ["--set", f"{name}={value}"]
        return words

    def env(self) -> Mapping[str, str]:
        return {
            "SOAK_CLOCK": f"{self._begins} {time.time()} {RATE}",
            "PYTHONPATH": str(Path(__file__).parent / "clock"),
            "TZ": "UTC",
        }

    def start(self) -> None:
        self._started = time.monotonic()
        super().start()

    def hours(self) -> float:
        """How long it has run by its own clock."""
        return (time.monotonic() - self._started) * RATE / 3600

    def memory(self) -> tuple[float, float]:
        """What the proxy and its recorder hold now, in MB."""
        proxy, *children = self.processes()
        return _resident(proxy), sum(map(_resident, children))


def older(path: Path, hours: float) -> None:
    """Have the file at ``path`` be ``hours`` old for a chain that starts now."""
    then = time.time() - hours * 3600 / RATE
    os.utime(path, (then, then))


def _resident(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(s.split()[1]) for s in status.splitlines() if s[:6] == "VmRSS:"), 0) / 1024
