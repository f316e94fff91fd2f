"""Requests to ZTF's queue, for the admin; those under ``.test`` are checked and go nowhere."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel

from kowalski.api.answers import success
from kowalski.api.errors import BadRequest, failure
from kowalski.api.models.triggers import NewQueue, NewTrigger, QueueName, TriggerName, WhichQueue, WhichTrigger
from kowalski.api.state import SERVICES
from kowalski.telescope.ztf_queue import Answer

QUEUES, MAPS = "/queues", "/mma_skymaps"


async def submit_queue(request: web.Request, queue: NewQueue) -> web.StreamResponse:
    """Submit a queue of exposures."""
    return await _submit(request, QUEUES, queue, f"queue {queue.queue_name}")


async def delete_queue(request: web.Request, queue: QueueName) -> web.StreamResponse:
    """Delete a queue."""
    return await _delete(request, QUEUES, queue, f"queue {queue.queue_name}")


async def get_queues(request: web.Request, which: WhichQueue) -> web.StreamResponse:
    """The queues, or one of them."""
    return await _get(request, QUEUES, which, "queue")


async def submit_trigger(request: web.Request, trigger: NewTrigger) -> web.StreamResponse:
    """Submit a trigger of multi-messenger observations."""
    return await _submit(request, MAPS, trigger, f"trigger {trigger.trigger_name}")


async def delete_trigger(request: web.Request, trigger: TriggerName) -> web.StreamResponse:
    """Delete a trigger."""
    return await _delete(request, MAPS, trigger, f"trigger {trigger.trigger_name}")


async def get_triggers(request: web.Request, which: WhichTrigger) -> web.StreamResponse:
    """The triggers, or one of them."""
    return await _get(request, MAPS, which, "trigger")


async def try_submitting(request: web.Request, wanted: BaseModel) -> web.StreamResponse:
    """Check a request to submit; nothing is sent."""
    return await success(request, "submitted", wanted.model_dump())


async def try_deleting(request: web.Request, wanted: BaseModel) -> web.StreamResponse:
    """Check a request to delete; nothing is sent."""
    return await success(request, "deleted", wanted.model_dump())


async def try_queues(request: web.Request, which: WhichQueue) -> web.StreamResponse:
    """What a test of queues gives back."""
    return await success(request, "submitted", [{"queue_name": "test"}])


async def try_triggers(request: web.Request, which: WhichTrigger) -> web.StreamResponse:
    """What a test of triggers gives back."""
    return await success(request, "submitted", [{"trigger_name": "test"}])


async def _submit(request: web.Request, path: str, wanted: BaseModel, what: str) -> web.StreamResponse:
    answer = await request.app[SERVICES].ztf_queue.call("PUT", path, wanted.model_dump())
    if answer.status == 200:  # the queue creates what is new, and says 201 then
        return failure(409, f"Submitted {what} already exists")
    _require_good(answer, f"{what} rejected")
    return await success(request, "submitted", answer.headers)


async def _delete(request: web.Request, path: str, wanted: BaseModel, what: str) -> web.StreamResponse:
    answer = await request.app[SERVICES].ztf_queue.call("DELETE", path, wanted.model_dump())
    _require_good(answer, f"deletion of {what} rejected")
    return await success(request, "deleted", answer.headers)


async def _get(request: web.Request, path: str, wanted: BaseModel, what: str) -> web.StreamResponse:
    answer = await request.app[SERVICES].ztf_queue.call("GET", path, wanted.model_dump(exclude_none=True))
    _require_good(answer, f"request for {what} rejected")
    return await success(request, "retrieved", answer.content)


def _require_good(answer: Answer, otherwise: str) -> Any:
    if not 200 <= answer.status < 300:
        raise BadRequest(f"{otherwise}: {answer.content!s:.1000}")
