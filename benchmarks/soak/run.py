"""One soak: earlier chains leave something behind, one runs for hours, then all is looked at."""

from __future__ import annotations

import asyncio
import calendar
import shutil
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.soak.agents import Load
from benchmarks.soak.chain import Soaked, older
from benchmarks.soak.verdict import Found, Plan, found
from benchmarks.soak.watch import Watch
from benchmarks.systems import KEY, Direct, Unavailable

#: An hour before midnight.
_BEGINS = calendar.timegm((2026, 3, 2, 23, 0, 0))
#: So many hours before, chains ran and left recordings: some are to be packed, some are too old.
_EARLIER = (60.0, 30.0)
_KEEP_DAYS = 2


async def run(plan: Plan) -> Found:
    """Everything ``plan`` says; takes ``hours`` * 3600 / RATE seconds and some more."""
    records = Path(tempfile.mkdtemp(prefix="interpose-soak-"))
    options = {
        "record_rotate": f"{plan.rotate}m",
        "record_keep_size": f"{plan.keep}m",
        "record_keep_days": str(_KEEP_DAYS),
        "journal_keep_days": "1",
    }
    try:
        with Direct(0) as upstream:
            for hours in _EARLIER:
                begins = _BEGINS - hours * 3600
                with Soaked(upstream.port, records, begins, options) as chain:
                    await _some(chain)
            left = sorted(path.name for path in records.glob("*.flow"))
            for hours, name in zip(_EARLIER, left, strict=True):
                older(records / name, hours)
            with Soaked(upstream.port, records, _BEGINS, options, plan.tool) as chain:
                watch = Watch(chain, records)

                def over() -> bool:
                    return chain.hours() >= plan.hours

                load = Load(chain.port, plan.sessions, KEY, over)
                await asyncio.gather(load.run(), watch.run(over))
                await _rest(watch)
                chain.stop()
                log = chain.log()
        return found(plan, load, watch, left, log)
    finally:
        shutil.rmtree(records, ignore_errors=True)


async def _rest(watch: Watch) -> None:
    """Until all is written and packed, or for a minute; then a last look."""
    until = time.monotonic() + 60
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        await client.get(f"http://127.0.0.1:{watch.chain.port}/health?exchanges=1")
        while len(list(watch.records.glob("*.flow"))) > 1 and time.monotonic() < until:
            await asyncio.sleep(0.2)
        await watch.look(client)
    watch.samples.pop()


async def _some(chain: Soaked) -> None:
    """A few turns."""
    until = time.monotonic() + 1
    load = Load(chain.port, 10, KEY, lambda: time.monotonic() > until, (0.0, 0.3))
    await load.run()
    if load.wrong:
        raise Unavailable(f"a wrong answer: {load.wrong[0]}\n{chain.log()[-2000:]}")
