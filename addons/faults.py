"""What happens when a stage breaks: it is caught around it, logged, and told to the client."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from addons.runs import Run
from addons.stage import Stage
from shim.exchange.replies import failed, failed_field, refusal
from shim.exchange.values import Reply
from shim.shown import line
from shim.turn import Failure, WireError

logger = logging.getLogger(__name__)


class StageFault(Exception):
    """A stage raised in one of its hooks; ``__cause__`` is what it raised."""

    def __init__(self, stage: str) -> None:
        super().__init__(f"the stage {stage} broke")
        self.stage = stage


def is_fault(e: BaseException) -> bool:
    """Whether ``e`` is a stage's doing: mitmproxy's own exceptions and a CancelledError that it
    raises itself are; the end of the process, or of the task, is not."""
    if isinstance(e, asyncio.CancelledError):
        task = asyncio.current_task()
        return not (task and task.cancelling())
    return isinstance(e, Exception)


def call(stage: Stage, hook: Callable[..., Any], *args: Any) -> Any:
    """What the sync ``hook`` gives. StageFault, or the WireError that it raised."""
    try:
        return hook(*args)
    except BaseException as e:
        raise _fault(stage, e) from e


async def call_async(stage: Stage, hook: Callable[..., Any], *args: Any) -> Any:
    """The same for a hook that may be a coroutine."""
    try:
        result = hook(*args)
        return await result if inspect.isawaitable(result) else result
    except BaseException as e:
        raise _fault(stage, e) from e


def _fault(stage: Stage, e: BaseException) -> BaseException:
    if isinstance(e, WireError) or not is_fault(e):
        return e
    return StageFault(stage.name)


def request_reply(run: Run, e: BaseException, patience: float) -> Reply:
    """How the client is told that its turn was not sent, since the chain broke at it."""
    if isinstance(e, WireError):
        failure = Failure(str(e), e.status, type="invalid_request_error")
        if run.intake:
            return failed_field(run.intake, failure, e.param)
        return refusal(run.access.request.path, e.status, str(e), param=e.param)
    return _reply(run, _message(run, e, "nothing was sent", patience), 500)


def response_reply(run: Run, e: BaseException, patience: float) -> Reply:
    """How the client is told that the answer to its turn cannot be passed on."""
    if isinstance(e, WireError):
        return _reply(run, str(e), 502)
    return _reply(run, _message(run, e, "the answer cannot be passed on", patience), 502)


def broken_reply(run: Run, status: int, why: str) -> Reply:
    """How the client is told that no whole answer came, in an error that it may take for passing:
    it comes from the connection."""
    failure = run.failure or Failure(why, status)
    failure = msgspec.structs.replace(failure, message=line(failure.message))
    if run.intake is None:
        return refusal(run.access.request.path, status, failure.message)
    secrets = run.decision.routing.secrets if run.decision and run.decision.routing else ()
    return failed(msgspec.structs.replace(run.intake, codex=False), failure, secrets)


def log(run: Run, e: BaseException) -> None:
    """Write down a fault that a client is not told of."""
    logger.error("%s (error %s)", e, _id(run), exc_info=e)


def _message(run: Run, e: BaseException, what: str, patience: float) -> str:
    where = f"the stage {e.stage} broke" if isinstance(e, StageFault) else "the chain broke"
    if isinstance(e, TimeoutError):
        where = f"the chain's stages took longer than {patience:g} s"
    log(run, e)
    return f"interpose: {where}, so {what}; the chain's log has the details (error {_id(run)})"


def _id(run: Run) -> str:
    return run.access.request.id[:8]


def _reply(run: Run, message: str, status: int) -> Reply:
    if run.intake is None:
        return refusal(run.access.request.path, status, message)
    return failed(run.intake, Failure(message, status))
