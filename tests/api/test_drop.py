"""Dropping catalogues."""

from typing import Any

import pytest
from accounts_harness import MakeUser
from api_harness import Api

from kowalski.database.client import MongoDatabase


def test_the_admin_drops_what_he_names_twice(api: Api, stored: MongoDatabase) -> None:
    stored["Old_catalogue"].insert_one({"_id": 1})
    answer = api.ask("drop", {"catalog": " Old_catalogue ", "confirm": "Old_catalogue"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "success", "message": "Successfully dropped collection"},
    )
    assert "Old_catalogue" not in stored.list_collection_names()
    again = api.refusal("drop", {"catalog": "Old_catalogue", "confirm": "Old_catalogue"})
    assert again == "drop: there is no collection Old_catalogue"


@pytest.mark.parametrize("confirm", [{}, {"confirm": None}, {"confirm": ""}, {"confirm": "stars"}, {"confirm": True}])
def test_nothing_is_dropped_without_its_name_again(api: Api, stored: MongoDatabase, confirm: dict[str, Any]) -> None:
    """As penquins sends it: without."""
    said = api.refusal("drop", {"catalog": "Stars", **confirm})
    assert "confirm" in said
    assert "must be the catalogue's name, Stars" in said or confirm == {"confirm": True}
    assert stored["Stars"].count_documents({}) == 5


def test_only_the_admin_drops(api: Api, stored: MongoDatabase, make_user: MakeUser) -> None:
    token = make_user("dropper", permissions={"ZTF": True})
    for catalog in ("Stars", "ZTF_alerts", "users", "nothing"):
        answer = api.ask("drop", {"catalog": catalog, "confirm": catalog}, token)
        assert (answer.status_code, answer.json()) == (403, {"status": "error", "message": "Forbidden"})
    assert stored["Stars"].count_documents({}) == 5


@pytest.mark.parametrize(
    "catalog",
    ["users", "former_users", "tokens", "logins", "filters", "outbox", "processes", "leases", "skyportal_objects"]
    + ["quarantine", "quarantine_files.chunks", "system.views", "system.users"],
)
def test_what_kowalski_lives_on_is_never_dropped(api: Api, catalog: str) -> None:
    assert api.refusal("drop", {"catalog": catalog, "confirm": catalog}) == f"Protected collection: {catalog}"


@pytest.mark.parametrize("catalog", ["", "a\0b", "$cmd", "a..b", 7, None, "x" * 300])
def test_odd_names_are_refused(api: Api, catalog: Any) -> None:
    api.refusal("drop", {"catalog": catalog, "confirm": catalog})
