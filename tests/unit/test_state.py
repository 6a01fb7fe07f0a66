"""What is stored, what makes room, and how turns are put together from it."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shim.state import compact, expand, page
from shim.state.conversations import Conversations, Gone, Kept
from shim.state.store import Memory, SQLite, Store
from shim.turn import Turn, WireError
from shim.wire.reasoning import pack
from shim.wire.responses.read_request import read_request


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    bounds: Any = {"entries": 3, "size": 100}
    return Memory(**bounds) if request.param == "memory" else SQLite(tmp_path / "s.db", **bounds)


def test_what_was_not_used_for_longest_makes_room(store: Store) -> None:
    assert store.get("a") is None and not store.delete("a")
    for key in "abc":
        store.put(key, key.encode())
    assert store.get("a") == b"a"
    store.put("d", b"d")
    assert [store.get(key) for key in "abcd"] == [b"a", None, b"c", b"d"]
    store.put("big", b"x" * 99)
    assert [store.get(key) for key in ("a", "c", "d", "big")] == [None, None, b"d", b"x" * 99]
    store.put("d", b"y" * 50)
    assert store.get("big") is None and store.get("d") == b"y" * 50
    assert store.delete("d") and not store.delete("d") and store.get("d") is None
    store.put("too big", b"x" * 101)
    assert store.get("too big") is None
    store.close()


def test_a_file_is_shared_private_and_made_only_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.db"
    first, second = SQLite(path), SQLite(path)
    assert first.get("a") is None and not first.delete("a") and not path.exists()
    first.put("a", b"1")
    assert second.get("a") == b"1"
    assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}
    threads = [
        threading.Thread(target=s.put, args=(f"{n}", b"x"))
        for n in range(20)
        for s in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(second.get(f"{n}") == b"x" for n in range(20))
    first.close()
    second.close()
    assert SQLite(path).get("a") == b"1"


@pytest.fixture(params=["memory", "sqlite"])
def roomy(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Memory() if request.param == "memory" else SQLite(tmp_path / "roomy.db")


def entry(text: str, parent: tuple[str, str] | None = None, **more: Any) -> Kept:
    return Kept(
        b'{"output":[]}', f'"in {text}"'.encode(), f'"out {text}"'.encode(), parent=parent, **more
    )


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_a_conversation_is_read_along_its_entries(roomy: Store) -> None:
    async def work() -> None:
        kept = Conversations(roomy)
        one = entry("1")
        kept.keep("me", "r1", one)
        kept.keep("me", "r2", entry("2", ("r1", one.mark)))
        for _ in range(2):
            history = await kept.history("me", "r2")
            assert history.items == [b'"in 1"', b'"out 1"', b'"in 2"', b'"out 2"']
            assert history.ids == ["r2", "r1"]
            await kept.settle()
            assert not kept._waiting
        with pytest.raises(Gone) as gone:
            await kept.history("you", "r2")
        assert gone.value.id == "r2"
        assert await kept.drop("me", "r1") and not await kept.drop("me", "r1")
        with pytest.raises(Gone) as gone:
            await kept.history("me", "r2")
        assert gone.value.id == "r1"

    run(work())


def test_a_conversation_is_not_continued_on_another_one(roomy: Store) -> None:
    """Some servers number their answers anew after a restart, or draw from a thousand numbers."""

    async def work() -> None:
        kept = Conversations(roomy)
        one = entry("1")
        kept.keep("", "r1", one)
        kept.keep("", "r2", entry("2", ("r1", one.mark)))
        kept.keep("", "r1", entry("of somebody else"))
        with pytest.raises(Gone):
            await kept.history("", "r2")
        loop = entry("3")
        loop.parent = ("r3", loop.mark)
        kept.keep("", "r3", loop)
        with pytest.raises(Gone):
            await kept.history("", "r3")

    run(work())


def test_a_compaction_stands_for_what_was_before(roomy: Store) -> None:
    async def work() -> None:
        kept = Conversations(roomy)
        kept.keep("", "r2", entry("2", ("gone", "x"), compacted=True))
        assert (await kept.history("", "r2")).items == [b'"out 2"']

    run(work())


def test_a_file_that_cannot_be_used_costs_only_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"no database" * 100)

    async def work() -> None:
        kept = Conversations(SQLite(path))
        kept.keep("", "r1", entry("1"))
        await kept.settle()
        assert (await kept.history("", "r1")).items
        assert await kept.drop("", "r1")
        await kept.close()

    run(work())
    assert "in memory only" in caplog.text


def turn(input: Any = "hi", **more: Any) -> Turn:
    return read_request(json.dumps({"model": "m", "input": input, **more}).encode())


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/v1/responses/resp_1", ("resp_1", False)),
        ("/x/responses/resp_1/?a=b", ("resp_1", False)),
        ("/v1/responses/resp_1/input_items?limit=2", ("resp_1", True)),
        ("/v1/responses/compact", None),
        ("/v1/responses", None),
        ("/v1/responses/a/b", None),
        ("/v1/models?x=/responses/resp_1", None),
    ],
)
def test_paths_of_stored_responses(path: str, what: object) -> None:
    assert expand.stored(path) == what
    assert expand.is_compact(path) == (path == "/v1/responses/compact")


def test_items_go_in_front_as_they_are() -> None:
    odd = b'{"type":"message" , "content":"\\u00e9 \xc3\xa9","unknown":1.50}'
    made = expand.with_items(
        turn("new", previous_response_id="r", instructions="x"), [odd, b"", expand.inner(b'"new"')]
    )
    assert odd in made.body and "previous_response_id" not in made.fields
    assert made.setting("instructions") == "x" and len(made.items) == 2
    assert json.loads(made.body)["input"][1]["content"] == "new"
    assert read_request(made.body).fields == made.fields


def test_what_cannot_be_served_is_refused_by_name() -> None:
    for refused, check in (
        (turn(previous_response_id=3), expand.previous),
        (turn(conversation="conv_1"), expand.refuse_conversation),
    ):
        with pytest.raises(WireError) as e:
            check(refused)  # type: ignore[operator]
        assert e.value.param in str(e.value)
    assert expand.previous(turn(previous_response_id=None)) is None
    with pytest.raises(WireError, match="input"):
        expand.inner(b"3")


def compaction(text: str, provider: str = expand.OWNER) -> dict[str, Any]:
    state = pack(provider, {"summary": text})
    return {"type": "compaction", "id": "cmp_1", "encrypted_content": state}


def test_summaries_of_ours_become_readable_and_others_stay() -> None:
    foreign = {"type": "compaction", "encrypted_content": "gAAAA"}
    said = {"type": "message", "role": "user", "content": '{"type":"compaction"}'}
    asked = turn([compaction("we built a boat"), foreign, said], previous_response_id="r")
    made = json.loads(expand.readable(asked).body)
    assert made["input"][0]["role"] == "user" and "we built a boat" in made["input"][0]["content"]
    assert made["input"][1:] == [foreign, said] and made["previous_response_id"] == "r"
    for untouched in (turn([foreign, said]), turn('"compaction"'), turn([said])):
        assert expand.readable(untouched) is untouched


def test_a_trigger_is_the_last_item() -> None:
    trigger = {"type": "compaction_trigger"}
    hi = {"role": "user", "content": "hi"}
    assert compact.is_triggered(turn([hi, trigger]))
    for other in (turn([trigger, hi]), turn([hi]), turn([]), turn("compaction_trigger")):
        assert not compact.is_triggered(other)
    quoted = {"role": "user", "content": '{"type":"compaction_trigger"}'}
    assert not compact.is_triggered(turn([quoted]))
    made = compact.summary_turn(
        turn([hi, trigger], stream=True, tools=[{"type": "x"}], store=False)
    )
    assert not made.stream and not made.tools and made.setting("store") is False
    assert [i.type or i.role for i in made.items] == ["user", "message"]
    assert compact.PROMPT in made.body.decode()


def test_the_users_latest_messages_stay_beside_a_summary() -> None:
    users = [{"role": "user", "content": f"{n} " + "x" * 30_000} for n in range(4)]
    asked = turn([*users[:3], {"role": "assistant", "content": "no"}, users[3]])
    answer = {"id": "resp_1", "created_at": 5, "usage": None, "output": []}
    assert compact.compaction_item(answer) is None
    parts = [{"type": "output_text", "text": "short"}]
    answer["output"] = [{"type": "reasoning"}, {"type": "message", "content": parts}]
    item = compact.compaction_item(answer)
    assert item and expand.summary(msgspec.json.encode(item)) == "short"
    made = json.loads(compact.compacted(asked, answer, item))
    assert made["output"] == [*users[2:], item] and made["id"] == "resp_1"


def test_a_compact_request_needs_something_to_compact() -> None:
    with pytest.raises(WireError) as e:
        compact.read_compact(b'{"model":"m"}')
    assert e.value.param == "input"
    body = b'{"model":"m","previous_response_id":"r"}'
    made = compact.read_compact(body)
    assert made.body == body and "input" not in made.own and made.items == []


def test_pages_of_items() -> None:
    pieces = [
        b'{"role":"user","content":"a"},{"id":"msg_1","role":"assistant","content":[]}',
        b'{"x":1}',
    ]

    def ids(**query: str) -> tuple[list[str], bool]:
        listed = json.loads(page.items_page("resp_7", pieces, query))
        assert [listed["first_id"], listed["last_id"]] == [
            listed["data"][0]["id"],
            listed["data"][-1]["id"],
        ]
        return [item["id"] for item in listed["data"]], listed["has_more"]

    assert ids() == (["item_7002", "msg_1", "item_7000"], False)
    assert ids(order="asc", limit="2") == (["item_7000", "msg_1"], True)
    assert ids(after="msg_1") == (["item_7000"], False)
    for bad in ({"limit": "0"}, {"limit": "101"}, {"order": "up"}, {"after": "nope"}):
        with pytest.raises(WireError) as e:
            page.items_page("resp_7", pieces, bad)
        assert e.value.param in bad


def test_what_an_earlier_version_kept_beside_the_recordings_moves(tmp_path: Path) -> None:
    former = tmp_path / "flows" / "responses.db"
    old = SQLite(former)
    old.put("a", b"old")
    old.put("b", b"old")
    old.add("count", 3.0, 1e12, 1.0)
    old.close()
    path = tmp_path / "state" / "responses.db"
    made = SQLite(path)
    made.put("b", b"new")
    made.close()
    store = SQLite(path, former=former)
    assert store.get("a") == b"old" and store.get("b") == b"new"
    assert store.total("count", 2.0) == 3.0
    store.close()
    assert not list(former.parent.iterdir())
    again = SQLite(path, former=former)
    assert again.get("a") == b"old"
    again.close()
