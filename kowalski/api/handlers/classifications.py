"""Classifications: labels that people give to alerts, and scores of models that run elsewhere."""

from aiohttp import web

from kowalski.api.answers import success
from kowalski.api.models.classifications import AlertPath, ClassificationPath, Labels, Names
from kowalski.api.services.reads import Reads
from kowalski.api.state import SERVICES, USER


async def put(request: web.Request, path: ClassificationPath, labels: Labels) -> web.StreamResponse:
    """Add labels and scores to alerts."""
    await request.app[SERVICES].classifications.add(path.survey, labels, _reads(request))
    return await success(request, f"added classifications for {path.survey.lower()} alerts")


async def remove(request: web.Request, path: ClassificationPath, names: Names) -> web.StreamResponse:
    """Remove labels and scores from alerts."""
    await request.app[SERVICES].classifications.remove(path.survey, names, _reads(request))
    return await success(request, f"deleted classifications for {path.survey.lower()} alerts")


async def get(request: web.Request, path: AlertPath) -> web.StreamResponse:
    """An alert's labels and scores."""
    found = await request.app[SERVICES].classifications.get(path.survey, path.candid, _reads(request))
    return await success(request, f"retrieved classifications for {path.survey.lower()} alert {path.candid}", found)


def _reads(request: web.Request) -> Reads:
    return Reads(request.app[SERVICES].database, request[USER])
