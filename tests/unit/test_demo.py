"""The offline demo model in a loop without Codex: a small executor runs its calls on real files."""

import json
import subprocess
from pathlib import Path

import pytest

from shim.engines import demo
from shim.engines.bugs import BUGS, Bug, make_repo

pytestmark = pytest.mark.slow

EXEC = {
    "type": "function",
    "function": {
        "name": "exec_command",
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}},
            "required": ["cmd"],
        },
    },
}
STDIN = {"type": "function", "function": {"name": "write_stdin", "parameters": {}}}
PATCH = {
    "type": "function",
    "function": {
        "name": "apply_patch",
        "parameters": {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
        },
    },
}
REFUSAL = "apply_patch verification failed: Failed to find expected lines in the file"


def codex_output(code: int, text: str) -> str:
    return (
        f"Chunk ID: 1a2b3c\nWall time: 0.0000 seconds\nProcess exited with code {code}\n"
        f"Original token count: {len(text) // 4}\nOutput:\n{text}"
    )


def apply_patch(folder: Path, text: str) -> str:
    """What Codex's apply_patch does for one-file updates, with its words."""
    lines = text.rstrip("\n").split("\n")
    if lines[0] != "*** Begin Patch" or lines[-1] != "*** End Patch":
        return "apply_patch verification failed: invalid patch"
    path = lines[1].removeprefix("*** Update File: ")
    content = (folder / path).read_text().split("\n")
    hunks = "\n".join(lines[2:-1]).split("@@\n")[1:]
    for hunk in hunks:
        body = hunk.rstrip("\n").split("\n")
        old = [row[1:] for row in body if row[:1] != "+"]
        new = [row[1:] for row in body if row[:1] != "-"]
        at = next((n for n in range(len(content)) if content[n : n + len(old)] == old), None)
        if at is None:
            return REFUSAL
        content[at : at + len(old)] = new
    (folder / path).write_text("\n".join(content))
    return f"Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nM {path}\n"


class Client:
    """Sends the conversation again and again and does what the model asks, as a client would."""

    def __init__(self, folder: Path, prompt: str, tools: list[dict] | None = None) -> None:
        self.folder = folder
        self.tools = [EXEC, STDIN, PATCH] if tools is None else tools
        self.messages: list[dict] = [
            {"role": "system", "content": "You are a coding agent."},
            {
                "role": "user",
                "content": "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nfix bugs\n"
                "</INSTRUCTIONS>\n<environment_context>\n  <cwd>/x</cwd>\n</environment_context>",
            },
            {"role": "user", "content": prompt},
        ]
        self.commands: list[str] = []
        self.patches: list[str] = []

    def request(self) -> dict:
        return {"model": "demo", "stream": True, "messages": self.messages, "tools": self.tools}

    def run(self, turns: int = 30) -> str:
        for _ in range(turns):
            message = demo.respond(self.request()).json()["choices"][0]["message"]
            self.messages.append(message)
            if not message.get("tool_calls"):
                return message["content"]
            for call in message["tool_calls"]:
                arguments = json.loads(call["function"]["arguments"])
                output = self.execute(call["function"]["name"], arguments)
                self.messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": output}
                )
        raise AssertionError(f"no end after {turns} turns")

    def execute(self, name: str, arguments: dict) -> str:
        if name == "apply_patch":
            return self.patched(arguments["input"])
        command = arguments["cmd"]
        if command.startswith("apply_patch <<"):
            return self.patched(command.split("\n", 1)[1].rpartition("PATCH")[0])
        self.commands.append(command)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return codex_output(done.returncode, done.stdout)

    def patched(self, text: str) -> str:
        self.patches.append(text)
        return apply_patch(self.folder, text)


class Refusing(Client):
    def patched(self, text: str) -> str:
        self.patches.append(text)
        return REFUSAL


def repaired(folder: Path, bug: Bug) -> str:
    return bug.files[bug.source].replace(bug.wrong, bug.right)


@pytest.mark.parametrize("kind", BUGS)
def test_fixes_the_bug(tmp_path: Path, kind: str) -> None:
    bug = make_repo(tmp_path, kind)
    client = Client(tmp_path, bug.prompt)
    final = client.run()
    assert (tmp_path / bug.source).read_text() == repaired(tmp_path, bug)
    assert client.commands.count(bug.test_command) == 2
    assert final.startswith("Fixed.") and bug.source in final and bug.right.strip() in final
    first = client.messages[3]
    assert len(first["tool_calls"]) == 2 and first["reasoning_content"] and first["content"]


@pytest.mark.parametrize("kind", BUGS)
def test_fixes_the_bug_without_an_apply_patch_tool(tmp_path: Path, kind: str) -> None:
    bug = make_repo(tmp_path, kind)
    assert Client(tmp_path, bug.prompt, [EXEC]).run().startswith("Fixed.")
    assert (tmp_path / bug.source).read_text() == repaired(tmp_path, bug)


def test_a_refused_patch_is_tried_once_more_and_then_reported(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)
    client = Refusing(tmp_path, bug.prompt)
    final = client.run()
    assert "could not fix" in final and "Failed to find expected lines" in final
    assert len(client.patches) == 2
    assert client.commands.count(f"cat {bug.source}") == 2


@pytest.mark.parametrize(
    "said", ["patch rejected: writing is blocked by read-only sandbox", "aborted", ""]
)
def test_a_forbidden_patch_is_not_tried_again(tmp_path: Path, said: str) -> None:
    bug = make_repo(tmp_path)

    class Forbidding(Client):
        def patched(self, text: str) -> str:
            self.patches.append(text)
            return said

    client = Forbidding(tmp_path, bug.prompt)
    final = client.run()
    assert "could not fix" in final and said in final
    assert len(client.patches) == 1


@pytest.mark.parametrize(
    "said",
    [
        "exec_command failed: rejected by user",
        "unsupported call: exec_command",
        codex_output(127, "sh: 1: python3: not found\n"),
    ],
)
def test_a_test_that_cannot_run_is_no_success(tmp_path: Path, said: str) -> None:
    bug = make_repo(tmp_path)

    class Forbidding(Client):
        def execute(self, name: str, arguments: dict) -> str:
            refused = arguments.get("cmd") == bug.test_command
            return said if refused else super().execute(name, arguments)

    client = Forbidding(tmp_path, bug.prompt)
    final = client.run()
    assert "could not run" in final and said.splitlines()[-1] in final
    assert client.patches == []


def test_a_file_changed_in_between_is_read_again(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)

    class Meddled(Client):
        def patched(self, text: str) -> str:
            if not self.patches:
                path = self.folder / bug.source
                path.write_text(
                    path.read_text()
                    .replace(" The", "The")
                    .replace("    return subtotal", "    # cents\n    return subtotal")
                )
            return super().patched(text)

    client = Meddled(tmp_path, bug.prompt)
    assert client.run().startswith("Fixed.")
    assert len(client.patches) == 2 and "    # cents" in client.patches[1]


def test_no_edit_helps_every_attempt_is_taken_back(tmp_path: Path) -> None:
    bug = make_repo(tmp_path, "hopeless")
    client = Client(tmp_path, bug.prompt)
    final = client.run()
    assert "could not fix" in final and "not ok" in final and "perhaps" in final
    assert len(client.patches) > 2
    assert (tmp_path / bug.source).read_text() == bug.files[bug.source]


def test_an_impossible_expectation_is_seen_without_touching_a_file(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)
    test = tmp_path / "test_cart.py"
    test.write_text(test.read_text().replace("990", "123456"))
    client = Client(tmp_path, bug.prompt)
    final = client.run()
    assert "could not fix" in final and "!= 123456" in final
    assert client.patches == []


def test_the_first_guess_is_wrong_the_second_right(tmp_path: Path) -> None:
    bug = make_repo(tmp_path, "shell")
    source = tmp_path / bug.source
    source.write_text(bug.files[bug.source].replace(bug.wrong, bug.right).replace("-gt", "-lt"))
    client = Client(tmp_path, bug.prompt)
    final = client.run()
    assert final.startswith("Fixed.") and "attempts" in final
    assert len(client.patches) > 1
    assert source.read_text() == repaired(tmp_path, bug)


@pytest.mark.parametrize("kind", BUGS)
@pytest.mark.parametrize("always", [True, False])
def test_a_login_shell_that_grumbles(tmp_path: Path, kind: str, always: bool) -> None:
    bug = make_repo(tmp_path, kind)

    class Grumbling(Client):
        def execute(self, name: str, arguments: dict) -> str:
            output = super().execute(name, arguments)
            noise = "profile: cannot write here\n" * (1 + len(self.commands) % 2)
            quiet = name == "apply_patch" or not (always or "cat " in arguments["cmd"])
            return output if quiet else output.replace("\nOutput:\n", f"\nOutput:\n{noise}")

    assert Grumbling(tmp_path, bug.prompt).run().startswith("Fixed.")
    assert (tmp_path / bug.source).read_text() == repaired(tmp_path, bug)


def test_green_from_the_start(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)
    (tmp_path / bug.source).write_text(repaired(tmp_path, bug))
    client = Client(tmp_path, bug.prompt)
    assert "no failing test" in client.run()
    assert client.patches == []


def test_a_plain_script_with_assertions_and_no_readme(tmp_path: Path) -> None:
    (tmp_path / "gate.py").write_text(
        "def open_for(age, member):\n    return age >= 18 and member or age > 99\n"
    )
    (tmp_path / "test_gate.py").write_text(
        "from gate import open_for\n\nassert open_for(30, False) is True\n"
        "assert not open_for(17, False)\n"
    )
    client = Client(tmp_path, "Fix the failing test, `python3 -B test_gate.py` shows it.")
    assert client.run().startswith("Fixed.")
    assert "age >= 18 or member" in (tmp_path / "gate.py").read_text()


def test_a_second_request_starts_anew(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)
    client = Client(tmp_path, bug.prompt)
    client.run()
    client.messages.append({"role": "user", "content": "Thanks! Please say hello."})
    assert "offline demo model" in client.run()
    client.messages.append({"role": "user", "content": bug.prompt})
    assert "no failing test" in client.run()


def test_a_long_command_is_waited_for() -> None:
    history = [
        {"role": "user", "content": "Fix the bug."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {
                        "name": "exec_command",
                        "arguments": json.dumps({"cmd": "sh slow.sh"}),
                    },
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "Wall time: 10.0 seconds\nProcess running with session ID 7\nOutput:\nhalf",
        },
    ]
    [call] = demo.respond({"messages": history, "tools": [EXEC, STDIN]}).reply.calls
    assert (call.name, call.arguments["session_id"]) == ("write_stdin", 7)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("say hello", "Hello!"),
        ("what is 2+2?", "2+2 = 4."),
        ("Fix the bug", "none"),
    ],
)
def test_without_tools_it_answers_plainly(asked: str, told: str) -> None:
    completion = demo.respond({"messages": [{"role": "user", "content": asked}], "tools": []})
    assert told in completion.reply.text and "offline demo model" in completion.reply.text
    assert completion.finish_reason == "stop"


def test_summary_for_a_compaction(tmp_path: Path) -> None:
    bug = make_repo(tmp_path)
    client = Client(tmp_path, bug.prompt)
    client.run()
    client.messages.append(
        {
            "role": "user",
            "content": "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary.",
        }
    )
    client.tools = []
    summary = client.run()
    assert bug.prompt in summary and f"`{bug.test_command}`, exit code 1" in summary
    assert f"patched {bug.source}" in summary
    after = Client(tmp_path, bug.prompt)
    after.messages.append(
        {
            "role": "user",
            "content": f"Another language model started to solve this problem and produced a summary\n{summary}",
        }
    )
    assert "summarised" in after.run()


def test_a_command_and_a_tool_as_told(tmp_path: Path) -> None:
    assert "hi there" in Client(tmp_path, "Please run `echo hi there` for me.").run()
    echo = {"type": "function", "function": {"name": "mcp__lab__echo_it", "parameters": {}}}
    asked = 'Call the tool `echo_it` with `{"text": "x"}`.'
    messages = [{"role": "user", "content": asked}]
    [call] = demo.respond({"messages": messages, "tools": [echo]}).reply.calls
    assert (call.name, call.arguments) == ("mcp__lab__echo_it", {"text": "x"})


def test_an_output_schema_is_kept() -> None:
    schema = {
        "type": "object",
        "properties": {"outcome": {"enum": ["allow", "deny"]}, "rationale": {"type": "string"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    completion = demo.respond(
        {"messages": [{"role": "user", "content": "May it?"}], "response_format": form}
    )
    assert json.loads(completion.reply.text)["outcome"] == "deny"


def test_the_stream_says_what_the_object_says(tmp_path: Path) -> None:
    client = Client(tmp_path, make_repo(tmp_path).prompt)
    completion = demo.respond(client.request())
    events = list(completion.chunks())
    assert events == list(demo.respond(client.request()).chunks())
    assert len(events) > 30 and events[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(e.removeprefix(b"data: ")) for e in events[:-1]]
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    whole = completion.json()["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        assert "".join(d.get(name) or "" for d in deltas) == whole[name]
    for index, call in enumerate(whole["tool_calls"]):
        parts = [p for d in deltas for p in d.get("tool_calls", ()) if p["index"] == index]
        assert [p["id"] for p in parts if "id" in p] == [call["id"]]
        assert "".join(p["function"]["arguments"] for p in parts) == call["function"]["arguments"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_usage_grows_and_the_prefix_is_cached(tmp_path: Path) -> None:
    client = Client(tmp_path, make_repo(tmp_path).prompt)
    first = demo.respond(client.request()).usage
    client.run()
    last = demo.respond(client.request()).usage
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert 0 < last["prompt_tokens_details"]["cached_tokens"] < last["prompt_tokens"]
    assert last["total_tokens"] == last["prompt_tokens"] + last["completion_tokens"]
    assert last["prompt_tokens"] > first["prompt_tokens"]


@pytest.mark.parametrize(
    "request_",
    [
        [],
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": 1}]},
        {"messages": [{"role": "assistant", "tool_calls": ["x"]}]},
    ],
)
def test_what_is_no_request_is_refused(request_: object) -> None:
    with pytest.raises(demo.BadRequest):
        demo.respond(request_)
