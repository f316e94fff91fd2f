"""Files for a channel of Slack, by its own three steps: ask for a place, put the file there, say which channel gets it.

https://docs.slack.dev/messaging/working-with-files
"""

import json
from typing import Any

import requests

from kowalski.errors import ConfigError, SourceError
from kowalski.http_source import ask, json_of

API = "https://slack.com/api"
#: Slack's words for what passes by itself
PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)


class Slack:
    """Sends files as one bot to one channel."""

    def __init__(self, token: str, channel: str, api: str = API):
        self._channel, self._api = channel, api
        self._session = requests.Session()
        self._session.trust_env = False
        self._token = {"Authorization": f"Bearer {token}"}

    def send(self, files: dict[str, bytes], comment: str) -> None:
        """The files (name -> content) are in the channel, with a comment.

        Raises
        ------
        SourceError : Slack is not reached, or refuses; what it got is in no channel then
        """
        sent = []
        for name, content in files.items():
            place = self._call("files.getUploadURLExternal", filename=name, length=len(content))
            ask(self._session, "POST", place["upload_url"], data=content)  # without the token: it is another server's
            sent.append({"id": place["file_id"], "title": name})
        self._call(
            "files.completeUploadExternal", files=json.dumps(sent), channel_id=self._channel, initial_comment=comment
        )

    def _call(self, method: str, **form: Any) -> dict[str, Any]:
        answer = ask(self._session, "POST", f"{self._api}/{method}", data=form, headers=self._token)
        content = json_of(answer, f"Slack ({method})")
        if not isinstance(content, dict) or not content.get("ok"):
            reason = content.get("error", "no reason given") if isinstance(content, dict) else "no answer of its own"
            raise SourceError(f"Slack ({method}) refuses: {reason}", retriable=reason in PASSING)
        return content


def slack_of(token: str | None, channel: str | None) -> Slack | None:
    """Where reports are sent; None: nowhere. Raises `ConfigError` where just one of the two is set."""
    if token and channel:
        return Slack(token, channel)
    if token or channel:
        missing = "slack_channel_id" if token else "slack_bot_token"
        raise ConfigError(f"slack.{missing} is not set, the other one is: set both, or none")
    return None
