"""Fits of light curves, and pictures of light curves, as far as a user sees them; drawn in a thread of their own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

from kowalski.api.models.cutouts import find_survey
from kowalski.api.models.objects import ObjectPath
from kowalski.api.services.objects import Bands, read_object, require_visible
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.api.services.rights import User
from kowalski.database.fits import COLLECTION, fit_key

#: what is shown of a fit
SHOWN = (
    "candid", "jd", "model", "version", "z", "z_source", "t0", "x0", "x1", "c", "chi2", "ndof", "parameters", "covariance", "mwebv", "points",
    "curve", "reason", "made_at",
)  # fmt: skip
UNASKED = "no fit was asked for: no alert of the object was an extragalactic candidate while fits were made"
HIDDEN = "the fit is made of points that you may not see"
WAITING = "the fit waits to be made"

Document = dict[str, Any]


class LightCurveService:
    """Shows fits and draws light curves."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "lightcurves")  # matplotlib is not made for several

    def close(self) -> None:
        """End the thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def salt2(self, path: ObjectPath, reads: Reads) -> Document:
        """What a fit to an object's light curve found, or why there is none.

        Raises
        ------
        BadRequest : there is no such object that this user sees
        """
        survey = find_survey(path.survey)
        await require_visible(survey, path.object_id, reads)
        found = await self.fit_of(survey.name, path.object_id, reads)
        return {"survey": survey.name, "objectId": path.object_id, **found}

    async def picture(self, path: ObjectPath, reads: Reads, bands: Bands) -> bytes:
        """A PNG of an object's light curve, of the points that this user sees, with the fit where he may see that.

        Raises
        ------
        BadRequest : there is no such object that this user sees
        """
        found = await read_object(path.survey, path.object_id, reads, bands)
        fit = await self.fit_of(found["survey"], found["objectId"], reads)
        title = f"{found['objectId']} ({found['survey']})"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _drawn, title, found["light_curve"], fit)

    async def fit_of(self, survey: str, object_id: str, reads: Reads) -> Document:
        """The fields `SHOWN` of an object's fit, and whether another is ``waiting``."""
        stored = await reads.queries.find_one(COLLECTION, {"_id": fit_key(survey, object_id)}, PLAIN)
        nothing: Document = dict.fromkeys(SHOWN)
        if stored is None:
            return nothing | {"waiting": False, "reason": UNASKED}
        waiting = "wanted" in stored
        if "made_at" not in stored:
            return nothing | {"waiting": waiting, "reason": WAITING}
        if not sees(reads.user, stored.get("rights")):
            return nothing | {"waiting": waiting, "reason": HIDDEN}
        shown = {name: stored.get(name) for name in SHOWN}
        return shown | {"waiting": waiting, "made_at": stored["made_at"].replace(tzinfo=UTC).isoformat()}


def sees(user: User, rights: Mapping[str, list[int] | None] | None) -> bool:
    """Whether a user sees every point that a fit is made of (`kowalski.transients.subject.Subject.rights`)."""
    if rights is None:
        return user.is_admin
    for survey, programmes in rights.items():
        seen = user.sees(survey)
        if seen is True:
            continue
        if not seen or not programmes or not set(programmes) <= set(seen):
            return False
    return True


def _drawn(title: str, curve: list[Document], fit: Document) -> bytes:
    from kowalski.transients.drawing import draw  # matplotlib takes half a second and 40 MB: of processes that draw

    return draw(title, curve, fit if fit["made_at"] is not None else None)
