"""Programs that print JSON lines: what their lines say, and what becomes of the processes."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.engines.agents.ask import Ask
from shim.engines.agents.lines import Heard, command, ready, run
from shim.engines.agents.process import AgentError, Child, environment
from shim.engines.agents.run import Activity, Job, Session, Unknown
from shim.engines.known import whole
from shim.policy.agents import Agent, Read
from shim.policy.schema import Policy
from shim.turn import Failure, Finish, Reasoning, Text, Usage

pytestmark = pytest.mark.slow

READS = [
    Read(when={"t": "init"}, session="id"),
    Read(when={"t": "text", "old": None}, text="say.text", input_tokens="in", output_tokens="out"),
    Read(when={"t": "think"}, reasoning="text"),
    Read(when={"t": "tool"}, activity="call"),
    Read(when={"t": "end", "bad": True}, error="why"),
    Read(when={"t": "end"}, whole="all", ends=True),
]
CURSOR = whole(Agent(use="cursor"), Policy(), {})


def heard(*lines: Any, reads: list[Read] = READS) -> list[Any]:
    """What lines say, texts that follow each other as one."""
    hearing, found = Heard(reads), []
    for line in lines:
        for said in hearing.line(line):
            if isinstance(said, Text) and found and isinstance(found[-1], Text):
                found[-1] = Text(found[-1].text + said.text)
            else:
                found.append(said)
    return found


def test_lines() -> None:
    assert heard(
        {"t": "init", "id": "s-1"},
        {"t": "think", "text": "hm"},
        {"t": "text", "say": [{"text": "a"}, {"text": "b"}], "in": 3, "out": True},
        {"t": "text", "old": 1, "say": {"text": "again"}},
        {"t": "tool", "call": {"ls": {}, "cat": {}}},
        {"t": "text", "say": {"text": "c"}, "in": 4, "out": 1},
        {"t": "end", "all": "ab c"},
    ) == [
        Session("s-1"), Reasoning("hm"), Text("ab"), Activity("ls"), Activity("cat"),
        Text("\n\nc"), Usage(7, 0, 0, 1), Finish("stop"),
    ]  # fmt: skip


def test_the_whole_where_no_piece_came() -> None:
    assert heard({"t": "end", "all": "x"}) == [Text("x"), Usage(), Finish("stop")]
    assert heard({"t": "end", "bad": True, "why": "no"}) == [Failure("no", 424, "agent_failed")]


def test_a_session_that_would_be_an_option_is_none() -> None:
    for name in ("--help", "a b", "a\nb", "", "x" * 201, "../a"):
        assert not heard({"t": "init", "id": name}), name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["t", "id", "say", "text", "call", "bad", "why", "all", "type", "message"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=6), st.sampled_from([READS, CURSOR.reads]))
def test_any_json_is_heard_without_harm(lines: list[Any], reads: list[Read]) -> None:
    assert all(isinstance(said, object) for said in heard(*lines, reads=reads))


def test_cursors_older_builds_that_stream_nothing() -> None:
    whole = {"type": "assistant", "message": {"content": [{"type": "text", "text": "Hi."}]}}
    end = {"type": "result", "is_error": False, "result": "Hi."}
    assert heard(whole, end, reads=CURSOR.reads) == [Text("Hi."), Usage(), Finish("stop")]


def job(folder: Path, prompt: str = "hello", session: str | None = None, **more: Any) -> Job:
    return Job(Ask(prompt, prompt, [], [], **more), session, [], folder)


def test_the_command_line(tmp_path: Path) -> None:
    agent = Agent(
        command=["x"],
        model=["-m", "{model}"],
        effort=["--effort={effort}"],
        resume=["-r", "{session}"],
        image=["-i", "{path}", "{folder}"],
    )
    made = job(tmp_path, session="s", model="m", effort="low")
    made.images = [tmp_path / "a.png"]
    assert command(agent, made) == [
        "x", "-m", "m", "--effort=low", "-r", "s", "-i", str(tmp_path / "a.png"), str(tmp_path),
    ]  # fmt: skip
    assert command(agent, job(tmp_path)) == ["x"]


def program(folder: Path, text: str) -> list[str]:
    path = folder / "agent.py"
    path.write_text("import json, os, sys, time\n" + textwrap.dedent(text))
    return [sys.executable, "-S", str(path)]


def answers(folder: Path, text: str, session: str | None = None, **more: Any) -> list[Any]:
    async def scenario() -> list[Any]:
        agent = Agent(command=program(folder, text), reads=READS, **more)
        return [said async for said in run(agent, job(folder, session=session))]

    return asyncio.run(scenario())


SAY = """
def say(**line): print(json.dumps(line), flush=True)
"""


def test_a_turn(tmp_path: Path) -> None:
    said = answers(tmp_path, SAY + 'say(t="text", say={"text": sys.stdin.read()})')
    assert said == [Text("hello"), Usage(), Finish("stop")]
    said = answers(tmp_path, SAY + 'say(t="text", say={"text": sys.argv[-1]})', prompt="argument")
    assert said[0] == Text("hello")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sys.exit(3)", "ended with code 3"),
        ("sys.exit('a\\x1b[31mb\\x07c\\n')", "ended with code 1: abc"),
        ("print('Please log in')", "ended with code 0: Please log in"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("print('[' * 100_000)\nsys.stdout.buffer.write(b'\\xff{\\n')\nsys.exit(2)", "code 2: .*{"),
        ("sys.stderr.write('x' * 5_000_000)\nsys.exit(1)", r"code 1: x{600}\Z"),
        ("sys.stdin.close()\nsys.exit(4)", "ended with code 4"),
        ("while True: sys.stdout.write('x' * 1_000_000)", "a line of more than 16 MB"),
        (SAY + "say(t='text', say={'text': 'a'})\nsys.exit(5)", "ended with code 5"),
    ],
)
def test_ends_without_an_answer(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(AgentError, match=why):
        answers(tmp_path, text)


def test_a_session_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="no such chat"):
        answers(tmp_path, "sys.exit('no such chat')", session="s")
    with pytest.raises(Unknown, match="gone"):
        answers(tmp_path, SAY + 'say(t="end", bad=True, why="gone")', session="s")
    # What has been taken up and fails then has not been forgotten; nor what was killed.
    with pytest.raises(AgentError, match="code 1: broken"):
        answers(tmp_path, SAY + 'say(t="init", id="s")\nsys.exit("broken")', session="s")
    with pytest.raises(AgentError, match="SIGKILL"):
        answers(tmp_path, "os.kill(os.getpid(), 9)", session="s")


def test_what_cannot_be_started(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    for words, why in (
        (["no-such-program"], "the program no-such-program is not installed"),
        ([str(broken)], "cannot be started: Exec format error"),
    ):
        agent = Agent(command=words, reads=READS)

        async def scenario(agent: Agent = agent) -> list[Any]:
            return [said async for said in run(agent, job(tmp_path))]

        with pytest.raises(AgentError, match=why):
            asyncio.run(scenario())


@pytest.mark.parametrize("prompt", ["a\0b", "x" * 200_000])
def test_a_prompt_that_is_no_word(tmp_path: Path, prompt: str) -> None:
    agent = Agent(command=["true"], reads=READS, prompt="argument")

    async def scenario() -> list[Any]:
        return [said async for said in run(agent, job(tmp_path, prompt))]

    with pytest.raises(AgentError) as e:
        asyncio.run(scenario())
    assert e.value.status == 400


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


DEAF = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
#: Deaf, with a child in a session of its own, with its pipes, that is deaf too.
STAYS = f"""
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", {DEAF!r}], start_new_session=True)
print(json.dumps([os.getpid(), child.pid]), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets go of nothing it adopted")
@pytest.mark.parametrize("ends", ["", "sys.exit(0)"])
def test_nothing_is_left(tmp_path: Path, ends: str) -> None:
    async def scenario() -> list[int]:
        words = program(tmp_path, STAYS + (ends or "time.sleep(600)"))
        child = await Child.start(words, cwd=str(tmp_path), env=environment({}))
        pids = [int(p) for p in (await anext(child.lines())).strip(b"[]\n").split(b",")]
        begun = time.monotonic()
        await child.end()
        assert time.monotonic() - begun < 8
        return pids

    pids = asyncio.run(scenario())
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets go of nothing it adopted")
def test_cancelled_twice_while_it_ends(tmp_path: Path) -> None:
    """The second time comes while it is given time to end by itself."""

    async def scenario() -> list[int]:
        words = program(tmp_path, STAYS + "time.sleep(600)")
        child = await Child.start(words, cwd=str(tmp_path), env=environment({}))
        pids = [int(p) for p in (await anext(child.lines())).strip(b"[]\n").split(b",")]
        end = asyncio.create_task(child.end(60))
        await asyncio.sleep(0)
        end.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        assert child._ends
        await asyncio.wait_for(child._ends, 10)
        return pids

    assert not any(alive(pid) for pid in asyncio.run(scenario()))


def test_programs_that_end_at_once(tmp_path: Path) -> None:
    """Also before the keeper has looked after them for the first time."""

    async def one() -> int:
        child = await Child.start(["true"], cwd=str(tmp_path), env=environment({}))
        try:
            return await asyncio.wait_for(child.code(), 30)
        finally:
            await child.end()

    async def scenario() -> list[int]:
        return [code for _ in range(5) for code in await asyncio.gather(*(one() for _ in range(6)))]

    assert asyncio.run(scenario()) == [0] * 30


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for text in ("sys.exit(1)", "while True: sys.stdout.write('x' * 1_000_000)"):
        with pytest.raises(AgentError):
            answers(tmp_path, text)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before


def test_ready(tmp_path: Path) -> None:
    def why(text: str) -> str:
        agent = Agent(ready=program(tmp_path, text), ready_says="logged in as", login="log in")
        return asyncio.run(ready(agent, str(tmp_path)))

    assert why("print('\\x1b[1mLogged \\x1b[0min as you')") == ""
    assert why("print('Not logged in')") == "log in"
    assert why("print('Logged in as you'); sys.exit(1)") == "log in"
    missing = Agent(ready=["no-such-program"])
    assert (
        asyncio.run(ready(missing, str(tmp_path))) == "the program no-such-program is not installed"
    )


def test_ready_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shim.engines.agents.lines._READY", 0.2)
    agent = Agent(ready=program(tmp_path, "time.sleep(600)"))
    assert asyncio.run(ready(agent, str(tmp_path))).endswith("does not answer")


def test_the_environment() -> None:
    env = {"PATH": "/bin", "INTERPOSE_KEY": "k", "P_KEY": "p", "NO_PROXY": "a,localhost", "E": ""}
    found = environment({"P_KEY": "", "MINE": "1"}, env)
    assert found == {
        "PATH": "/bin", "MINE": "1", "NO_PROXY": "a,localhost,127.0.0.1,::1", "E": "",
        "no_proxy": "127.0.0.1,localhost,::1",
    }  # fmt: skip
