"""Secrets of all kinds in random exchanges: none is written, shown or shared, in whatever form.

What holds under which policy is promised in docs/recording-and-replay.md.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import answers
from tests.e2e.chain import ROOT, Chain
from tests.e2e.planting import PROTOCOLS, Ask, Planter, answer
from tests.e2e.searching import Search
from tests.e2e.upstreams import Upstream
from tests.planted import SECRETS

ENV = {
    "PLANTED_KEY": "Planted0Key1Of2The3Policy",
    "PLANTED_TOKEN": "Planted4Token5Of6The7Policy",
    "PLANTED_QUERY": "Planted8Query9Of0The1Policy",
}
#: The policy that promises all kinds.
REDACT = """
redact:
  - { name: keys, use: api-keys, in: [recorded, logged] }
  - { name: private-keys, use: private-keys, in: [recorded, logged] }
  - { name: credentials, use: credentials, in: [recorded, logged] }
"""
#: What is hidden without any rule: what came as a credential, or is one of the policy's.
ALWAYS = {"client key", "cookie", "query", *ENV}


def policy(urls: dict[str, str], redact: str) -> str:
    providers = "\n".join(
        f"  {name}: {{ base_url: '{url}/v1', protocol: {name}, key: '${{PLANTED_KEY}}',"
        " headers: { x-gateway: '${PLANTED_TOKEN}' }, query: { code: '${PLANTED_QUERY}' } }"
        for name, url in urls.items()
    )
    models = "\n".join(f"  m-{name}: {{ provider: {name} }}" for name in urls)
    return f"providers:\n{providers}\nmodels:\n{models}\n{redact}"


@contextmanager
def recorded(many: int, redact: str, seed: int) -> Iterator[tuple[Chain, Planter]]:
    """A chain through which `many` exchanges have gone."""
    planter = Planter(seed, ENV)
    asks: dict[int, Ask] = {n: planter.ask(n) for n in range(many)}
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(Upstream(partial(answer, name, asks))).url
            for name in PROTOCOLS
        }
        options = {"record_rotate": "2m"}
        made = Chain(policy=policy(urls, redact), env=ENV, options=options)
        chain = stack.enter_context(made)

        def send(ask: Ask) -> int:
            try:
                return chain.post(ask.path, content=ask.body, headers=ask.headers).status_code
            except Exception:
                return 0

        with ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(send, asks.values()))
        answered = statuses.count(200)
        assert answered > many * 0.5 and 400 in statuses, (statuses, chain.log())
        yield chain, planter


@pytest.mark.parametrize("many", [60, pytest.param(1000, marks=pytest.mark.full)])
def test_no_kind_is_written_or_shown(
    many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_pieces", pieces)
    with recorded(many, REDACT, seed=many) as (chain, planter):
        pages = shown(chain)
        chain.stop()
        kinds = {what.partition(" in ")[0] for what in planter.planted.values()}
        assert kinds >= set(SECRETS) and len(SECRETS) > 30
        search = Search(planter.planted)
        assert search.told(*pages) == []
        # Stored responses are to come back as they were: only credentials may not be in there.
        stored = chain.stored
        assert search.folder(chain.folder, chain.policy_file, stored) == []
        assert Search(always(planter)).folder(stored.parent) == []
        audit = command("audit", "--json", "--journal", chain.record_dir)
        assert audit.stdout.count("\n") >= many and search.told(audit.stdout.encode()) == []
        flows = {path.name for path in chain.record_dir.glob("*.flow*")}
        assert flows and (many < 1000 or any(name.endswith(".zst") for name in flows)), flows
        shared(chain, tmp_path)
    assert search.folder(tmp_path) == []


@pytest.mark.full
def test_without_rules_credentials_go_and_sanitising_takes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_pieces", pieces)
    with recorded(60, "record: { mask_keys: false }", seed=7) as (chain, planter):
        pages = shown(chain)
        chain.stop()
        search = Search(always(planter))
        assert search.told(*pages) == []
        assert search.folder(chain.folder, chain.policy_file) == []
        # What was said is recorded as it was said, and the search finds it in each form.
        left = Search(planter.planted).folder(chain.record_dir)
        for how in ("as it is", "in a URL", "in Base64"):
            assert any(hit.endswith(how) for hit in left), how
        shared(chain, tmp_path)
    assert Search(planter.planted).folder(tmp_path) == []


def always(planter: Planter) -> dict[str, str]:
    """The secrets that are hidden under any policy."""
    found = {secret: what for secret, what in planter.planted.items() if what in ALWAYS}
    assert {*found.values()} == ALWAYS
    return found


def shown(chain: Chain) -> list[bytes]:
    paths = ("/health?exchanges", "/metrics", "/dashboard", "/health?live", "/models")
    pages = [chain.get(path) for path in paths]
    assert {page.status_code for page in pages} == {200}
    assert pages[0].json()["recording"]["error"] is None
    return [page.content for page in pages]


def shared(chain: Chain, folder: Path) -> None:
    """Sanitise what the chain recorded, into `folder`, and check it."""
    files = sorted(chain.record_dir.glob("*.flow*"))
    target = folder if len(files) > 1 else folder / files[0].name
    done = command("record", "--sanitise", *files, "-o", target)
    assert done.returncode == 0, done.stdout + done.stderr
    done = command("record", "--check", *folder.glob("*.flow*"))
    assert done.returncode == 0 and done.stdout.count("may be shared") == len(files), done.stdout


def command(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from shim.cli import main; raise SystemExit(main())"
    run = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=240)


def pieces(text: str) -> list[str]:
    """A text in pieces of one to nine characters, the same ones every time."""
    cut, at, rng = [], 0, random.Random(text)
    while at < len(text):
        size = rng.randrange(1, 10)
        cut.append(text[at : at + size])
        at += size
    return cut
