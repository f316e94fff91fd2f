"""What status says of long work that is not at its end."""

from kowalski.database.client import MongoDatabase
from kowalski.database.ingests import Ingests
from kowalski.database.rematches import Rematches
from kowalski.local.status import _unfinished


def test_unfinished_work_is_named_and_how_it_goes_on(mongo: MongoDatabase) -> None:
    assert _unfinished(mongo) == []
    ingests = Ingests(mongo)
    ingests.begin("Gaia_DR3", "gaia_dr3", ["Gaia_DR3"], staged=False)
    ingests.begin("NED", "ned", ["NED"], staged=False)
    ingests.finish("NED", {}, staged=False, source={})
    Rematches(mongo).begin("NED", {"ZTF": {"rows": 1}})
    ingestion, matching = _unfinished(mongo)
    assert ingestion.startswith("ingestion into Gaia_DR3, begun ")
    assert ingestion.endswith("ingest --resume goes on with it")
    assert matching.startswith("matching of ZTF with NED, begun ")
    assert matching.endswith("0 objects are done; if none runs, rematch NED goes on with it")
