"""deploy/Containerfile without an engine: its steps, carried out until /health answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shim.codex.find import PINNED
from tests.clients.installed import linter
from tests.e2e.chain import ROOT, free_port, poll
from tests.e2e.container import Builder, Built
from tests.everything import everything

pytestmark = pytest.mark.full

KEY = "key-of-a-client-0000"


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("container")
    yield Builder(folder / "a")
    shutil.rmtree(folder)


@pytest.fixture
def proxy(builder: Builder) -> Built:
    return builder.build("proxy")


def words_of(image: Built, port: int) -> list[str]:
    """What the container runs. No other machine shall reach a test."""
    words = [*image.words["ENTRYPOINT"], *image.words["CMD"]]
    assert "8080" in words and "0.0.0.0" in words
    return [{"8080": str(port), "0.0.0.0": "127.0.0.1"}.get(word, word) for word in words]


def environment(builder: Builder, image: Built, **more: str) -> dict[str, str]:
    path = {"PATH": image.env["PATH"]}
    return {**builder.environment(image), **path, "PYTHONDONTWRITEBYTECODE": "1", **more}


@contextmanager
def running(builder: Builder, image: Built, policy: str) -> Iterator[str]:
    port = free_port()
    env = environment(
        builder, image,
        INTERPOSE_CLIENT_KEYS=KEY, INTERPOSE_POLICY=str(ROOT / "policies" / policy),
    )  # fmt: skip
    _, *rest = words_of(image, port)
    program = image.root / "opt" / "venv" / "bin" / "interpose"
    log = image.root.parent / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), *rest], cwd=image.root / image.cwd[1:], env=env,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    check = [word.replace("8080", str(port)) for word in image.words["HEALTHCHECK"]]
    check[0] = str(image.root / "opt" / "venv" / "bin" / check[0])

    def healthy() -> bool:
        assert process.poll() is None, log.read_text()
        return subprocess.run(check, env=env, capture_output=True, timeout=30).returncode == 0

    try:
        poll(healthy, 60, "a health check that succeeds")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
    gone = subprocess.run(check, env=env, capture_output=True, timeout=30)
    assert gone.returncode, "it calls healthy what is gone"


def test_the_steps_lead_to_a_chain_that_answers(builder: Builder, proxy: Built) -> None:
    assert proxy.user == "10001:10001"
    assert proxy.owned == [f"10001:10001 {proxy.root}/data"]
    before = proxy.outside_of_data()
    turn = {"model": "demo", "input": "hello"}
    with running(builder, proxy, "default.yaml") as url, httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/health").json()["status"] == "ok"
        assert client.post(f"{url}/v1/responses", json=turn).status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        answer = client.post(f"{url}/v1/responses", json=turn, headers=headers, timeout=30)
        assert answer.status_code == 200 and "demo model" in answer.text
    (flows,) = (proxy.root / "data" / "flows").glob("*.flow")
    assert KEY.encode() not in everything(flows)
    # The root file system is read-only in compose.yaml.
    assert proxy.outside_of_data() == before


def test_nothing_is_served_without_client_keys(builder: Builder, proxy: Built) -> None:
    _, *rest = words_of(proxy, free_port())
    done = subprocess.run(
        [str(proxy.root / "opt" / "venv" / "bin" / "interpose"), *rest],
        cwd=proxy.root / "data", env=environment(builder, proxy), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "INTERPOSE_CLIENT_KEYS" in done.stderr and "Traceback" not in done.stderr


def test_codex_is_in_the_image_for_agents(builder: Builder) -> None:
    image = builder.build("agents")
    env = environment(builder, image, INTERPOSE_CLIENT_KEYS=KEY)
    done = subprocess.run(
        ["codex", "--version"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split()[-1] == PINNED
    assert not (image.root / "src").exists(), "what only the building needs is in the image"


@pytest.mark.parametrize(
    "words",
    [
        ["hadolint", "deploy/Containerfile"],
        ["shellcheck", "deploy/install.sh", "tools/setup", "tools/lock", "tools/conformance"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
    ],
    ids=lambda words: words[0],
)
def test_linters_find_nothing(words: list[str]) -> None:
    tool = linter(words[0])
    done = subprocess.run(
        [str(tool), *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_linters_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Containerfile"
    bad.write_text("FROM python\nRUN cd /x && pip install y\n")
    done = subprocess.run([str(linter("hadolint")), str(bad)], capture_output=True, text=True)
    assert "DL3006" in done.stdout and done.returncode
