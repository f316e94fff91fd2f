"""Thumbnails: cutouts as the small pictures that SkyPortal shows."""

import base64

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.pictures import picture
from kowalski.alerts.survey import Survey

#: role of a cutout -> SkyPortal's name of the thumbnail, in the order of sending
THUMBNAILS = {"science": "new", "template": "ref", "difference": "sub"}


def make_thumbnail(stamp: bytes, role: str, survey: Survey) -> str:
    """One cutout as a PNG of 168 x 168 pixels, in base64, stretched as its survey says.

    Raises
    ------
    PacketError : the stamp can't be read
    """
    return base64.b64encode(picture(survey.orient(read_stamp(stamp)), *survey.looks[role])).decode()
