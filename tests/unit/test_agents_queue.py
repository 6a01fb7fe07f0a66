"""Who may run: whatever comes and goes, in whatever order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.engines.agents.process import AgentError
from shim.engines.agents.queue import Queue

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(["", "a", "b", "c"])),
        st.tuples(st.just("finish"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("tick"), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 3))
def test_slots_order_and_cancelling(steps: list[tuple[str, str | int]], slots: int) -> None:
    """Never too many, never two of a session, in the order they came, and none is lost."""

    async def scenario() -> None:
        queue = Queue(slots, 1000)
        running: dict[int, str] = {}
        begun: list[int] = []
        came: list[tuple[asyncio.Task[None], str, asyncio.Event]] = []

        async def turn(number: int, session: str, end: asyncio.Event) -> None:
            async with queue.turn(session):
                assert not session or session not in running.values()
                running[number] = session
                begun.append(number)
                assert len(running) <= slots
                try:
                    await end.wait()
                finally:
                    del running[number]

        for what, which in steps:
            if what == "come":
                end = asyncio.Event()
                task = asyncio.create_task(turn(len(came), str(which), end))
                came.append((task, str(which), end))
            elif what == "tick":
                await asyncio.sleep(0)
            elif came:
                task, _, end = came[int(which) % len(came)]
                _ = end.set() if what == "finish" else task.cancel()
        for _, _, end in came:
            end.set()
        done = await asyncio.wait_for(
            asyncio.gather(*(task for task, _, _ in came), return_exceptions=True), 5
        )
        for said in done:
            assert said is None or isinstance(said, asyncio.CancelledError), repr(said)
        for session in "abc":
            of = [n for n in begun if came[n][1] == session]
            assert of == sorted(of)
        assert len(begun) >= sum(said is None for said in done)
        assert queue.running == 0 and not queue._busy and not queue._waiting

    asyncio.run(scenario())


def test_cancelled_while_another_leaves() -> None:
    """In one step of the loop: it has been taken off the list before it hears of its own end."""

    async def scenario() -> None:
        queue = Queue(1, 10)
        go = asyncio.Event()

        async def turn() -> None:
            async with queue.turn(""):
                await go.wait()

        first = asyncio.create_task(turn())
        second = asyncio.create_task(turn())
        await asyncio.sleep(0)
        second.cancel()
        go.set()
        first.cancel()
        done = await asyncio.gather(first, second, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in done), done
        assert queue.running == 0

    asyncio.run(scenario())


def test_a_full_queue_says_so() -> None:
    async def scenario() -> None:
        queue = Queue(1, 1)
        go = asyncio.Event()

        async def turn() -> None:
            async with queue.turn(""):
                await go.wait()

        tasks = [asyncio.create_task(turn()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(AgentError, match="1 turns are under way and 1 wait") as e:
            await turn()
        assert (e.value.status, e.value.code) == (429, "queue_full")
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
