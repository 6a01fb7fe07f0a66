"""A stand-in for `cursor-agent`, as its documentation says it prints; made to fail in every way.

Told by its prompt what to do; ``STATE`` names a folder with ``login`` (present: logged in),
``sessions`` (what each was told) and ``log`` (a line as it begins and ends a turn).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

STATE = Path(os.environ["STATE"])


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def log(**fields: object) -> None:
    with (STATE / "log").open("a") as file:
        file.write(json.dumps({**fields, "pid": os.getpid(), "at": time.monotonic()}) + "\n")


def status() -> int:
    if (STATE / "hangs").exists():
        signal.pause()
    if (STATE / "login").exists():
        print("\x1b[32m\u2713\x1b[0m Logged in as somebody@example.com")
    else:
        print("Not logged in")
    return 0


def assistant(text: str, **more: object) -> None:
    content = [{"type": "text", "text": text}]
    say(type="assistant", message={"role": "assistant", "content": content}, **more)


def streamed(session: str, text: str, *, call: str = "") -> None:
    """Deltas carry a time; then the whole comes again, before a tool with the call's id."""
    for number, piece in enumerate(re.findall(r"\S+\s*|\s+", text)):
        assistant(piece, session_id=session, timestamp_ms=1770000000000 + number)
    if call:
        assistant(text, session_id=session, model_call_id=call, timestamp_ms=1770000000099)
    else:
        assistant(text, session_id=session)


def main(words: list[str]) -> int:
    if words == ["status"]:
        return status()
    if "--trust" not in words:
        print("Workspace Trust Required")
        return 0
    session = words[words.index("--resume") + 1] if "--resume" in words else str(uuid.uuid4())
    prompt = sys.stdin.read()
    kept = STATE / "sessions" / f"{session}.json"
    kept.parent.mkdir(exist_ok=True)
    if "--resume" in words and not kept.exists():
        print(f"Chat {session} not found", file=sys.stderr)
        return 1
    told = json.loads(kept.read_text()) if kept.exists() else []
    log(begins=prompt, session=session, words=words, cwd=os.getcwd(), env=dict(os.environ))
    mode = "ask" if "ask" in words else "default"
    say(type="system", subtype="init", apiKeySource="login", cwd=os.getcwd(), session_id=session,
        model="Composer 2.5", permissionMode=mode)  # fmt: skip
    say(type="user", message={"role": "user", "content": [{"type": "text", "text": prompt}]},
        session_id=session)  # fmt: skip
    do = prompt.strip().rpartition("\n")[2].partition(" ")[0]
    if do == "crash":
        streamed(session, "Half of ")
        key = "sk-proj-" + "a1B2" * 8
        print(f"\x1b[31mError:\x1b[0m no more credits, key {key}, {os.environ.get('OWN_KEY')}",
              file=sys.stderr)  # fmt: skip
        return 3
    if do == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Out of the process group, deaf, and with its pipes.
        deaf = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
        log(hangs=True)
        while True:
            time.sleep(600)
    if do == "garbage":
        for line in ("no JSON at all", "{", "\x00\x01", "[" * 100_000, '"\\ud800"'):
            print(line)
        sys.stdout.buffer.write(b"\xff\xfe\n")
        print("Usage limit reached")
        return 0
    if do == "endless":
        for _ in range(100):
            sys.stdout.write("x" * 1024 * 1024)
        return 0
    if do == "wait":
        while not (STATE / "go").exists():
            time.sleep(0.02)
    say(type="thinking", subtype="delta", text="Hm. ", session_id=session, timestamp_ms=1)
    say(type="thinking", subtype="completed", session_id=session, timestamp_ms=2)
    if do == "tool":
        streamed(session, "I look first.", call="c-1")
        call: dict[str, object] = {"args": {"path": "/"}}
        for subtype in ("started", "completed"):
            say(type="tool_call", subtype=subtype, call_id="call\n1", session_id=session,
                tool_call={"lsToolCall": call})  # fmt: skip
            call["result"] = {"success": {}}
    told.append(prompt)
    kept.write_text(json.dumps(told))
    text = f"Told {len(told)} times, ha ha: {prompt.strip()}"
    streamed(session, text)
    log(ends=prompt, session=session)
    say(type="result", subtype="success", is_error=False, duration_ms=5, duration_api_ms=5,
        result=text, session_id=session)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
