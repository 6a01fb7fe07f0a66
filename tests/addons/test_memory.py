"""What turns have freed and nobody needs goes back to the kernel, without anybody asking for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from addons.memory import free

ROOT = Path(__file__).resolve().parents[2]
#: Long bodies with what stays between them, as turns leave them; then a look of the chain's.
_WORK = """
import asyncio
from pathlib import Path
from addons import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

async def main():
    memory.keep_freed()
    memory._EVERY = 0.01
    bodies = [bytes(300_000 if n % 2 else 3_000) for n in range(2000)]
    full, stays = resident(), bodies[::2]
    del bodies
    kept = resident()
    addon = memory.Memory()
    await addon.running()
    while resident() > full - 250_000_000:
        await asyncio.sleep(0.01)
    addon.done()
    print(kept > full - 50_000_000, len(stays))

asyncio.run(asyncio.wait_for(main(), 20))
"""


@pytest.mark.skipif(free() is None, reason="only glibc tells what is free, and takes it back")
def test_freed_memory_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WORK], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    # First it is kept: that is what the turns gain by.
    assert done.stdout.split() == ["True", "1000"], done.stderr
