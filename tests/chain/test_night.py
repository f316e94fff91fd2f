"""Nights of real and of hostile packets through every part: Kafka, dask, MongoDB, poster, API."""

from pathlib import Path

import duckdb
import pytest
from chain_oracle import expected_objects
from conftest import Chain, filter_document
from penquins import Kowalski

from kowalski.archive.tables.tables import Tables
from kowalski.database.processes import Processes
from kowalski.night.dates import night_from
from kowalski.night.packets import packets_from
from kowalski.simulation.night import simulate

#: looked at every second
TABLES = {"interval": 1, "settled": 2}
GOOD_DRB = filter_document(
    1, [{"$match": {"candidate.drb": {"$gt": 0.5}}}, {"$project": {"annotations": {"drb": "$candidate.drb"}}}]
)
BROKEN = filter_document(
    2, [{"$match": {"candidate.drb": {"$gt": 0}}}, {"$project": {"annotations": {"$divide": [1, 0]}}}]
)
INVALID = filter_document(3, [{"$lookup": {"from": "users", "as": "x", "localField": "candid", "foreignField": "_id"}}])


def test_simulated_night_twice(chain: Chain) -> None:
    """A simulated night: all stored, merged as a plain calculation says, posted once; the same again adds nothing."""
    chain.put_filters(GOOD_DRB, BROKEN, INVALID)
    packets = list(simulate(300, seed=11))
    sent = chain.publish(packet.data for packet in packets)
    chain.wait(lambda: chain.committed() == sent and not chain.pending(), "the night done")
    assert chain.stored() == len({packet.candid for packet in packets}) == 300
    objects = {document["_id"]: document for document in chain.database.ZTF_alerts_aux.find()}
    for object_id, expected in expected_objects([packet.data for packet in packets], chain.survey).items():
        assert {key: objects[object_id][key] for key in expected} == expected
    passing = {doc["candid"] for doc in chain.database.ZTF_alerts.find({"candidate.drb": {"$gt": 0.5}}, {"candid": 1})}
    posted = chain.posted(objects)
    assert sorted(posted) == sorted((candid, 1) for candid in passing)
    assert chain.received()["violations"] == []

    before = {
        name: list(chain.database[name].find(sort=[("_id", 1)])) for name in ("ZTF_alerts", "ZTF_alerts_aux", "outbox")
    }
    chain.publish(packet.data for packet in packets)
    chain.wait(lambda: chain.committed() == 2 * sent and not chain.pending(), "the repetition done")
    for name, documents in before.items():
        assert list(chain.database[name].find(sort=[("_id", 1)])) == documents
    assert sorted(chain.posted(objects)) == sorted(posted)
    books = chain.books()
    assert books.balance == 0
    expected = {"received": 600, "decoded": 600, "stored": 300, "known": 300, "quarantined": 0, "unread": 0}
    expected |= {"passed": len(passing), "filtered": 300 - len(passing), "candidates.delivered": len(passing)}
    assert {name: books.total()[name] for name in expected} == expected


def test_tables_of_the_night_before(chain: Chain) -> None:
    """What the night left in MongoDB is in the tables, appended beside it; when it is whole DuckDB counts the same of all."""
    tables, counts = Tables(chain.system.config, chain.database), counts_of(chain)
    night = night_from(chain.survey.night_of(chain.topic) or "")

    def rows(table: str) -> int:
        files = f"read_parquet('{tables.store.root}/{table}/**/*.parquet', hive_partitioning=true)"
        found = duckdb.sql(f"select count(*) from {files} where survey = 'ZTF' and night = {night:%Y%m%d}")
        return int(found.fetchall()[0][0])

    def appended() -> bool:
        there = {partition.table for partition in tables.store.partitions()}
        return {"alerts", "passes"} <= there and (rows("alerts"), rows("passes")) == (
            counts["alerts"],
            counts["passes"],
        )

    chain.wait(appended, "all alerts appended")
    assert tables.compact("ZTF", night) == counts
    assert {table: rows(table) for table in counts} == counts
    assert {each["problem"] for each in Processes(chain.database).alive() if each["program"] == "tables"} == {None}


def counts_of(chain: Chain) -> dict[str, int]:
    """What MongoDB has for each table, counted the plain way."""
    alerts, aux = (list(chain.database[name].find()) for name in ("ZTF_alerts", "ZTF_alerts_aux"))
    candids = {alert["candid"] for alert in alerts}
    earlier = [point for each in aux for point in each["prv_candidates"] if point.get("candid") not in candids]
    return {
        "alerts": len(alerts),
        "points": len(alerts) + len(earlier) + sum(len(each["fp_hists"]) for each in aux),
        "scores": sum(len(alert["classifications"]) // 2 for alert in alerts),
        "matches": sum(len(rows) for each in aux for rows in each["cross_matches"].values()),
        "passes": len(chain.database.outbox.distinct("candid", {"kind": "candidate"})),
        "salt2": 0,
    }


def test_hostile_packets_among_good_ones(chain: Chain) -> None:
    """Packets that can't be processed go to quarantine with their bytes and a reason; the others are stored."""
    good = [packet.data for packet in simulate(40, seed=12)]
    large = b"Obj\x01" + bytes(20 * 1024 * 1024)
    bad = {"empty": b"", "not_avro": b"not avro at all", "truncated": good[0][: len(good[0]) // 2]}
    bad["corrupt"] = good[1][:-16] + bytes(16)
    before, committed = chain.stored(), chain.committed()
    mixed = [*good[:20], bad["empty"], bad["not_avro"], large, *good[20:], bad["truncated"], bad["corrupt"]]
    sent = chain.publish(mixed)
    chain.wait(lambda: chain.committed() == committed + sent, "the mixed night done")
    assert chain.stored() == before + 40
    kept = list(chain.database.quarantine.find())
    assert len(kept) == 5
    assert {document["reason"] for document in kept} >= {"empty", "not_avro", "truncated", "corrupt"}
    assert all(document["detail"] and document["topic"] == chain.topic for document in kept)
    books = chain.books()
    total = books.total()
    assert books.balance == 0
    assert (total["quarantined"], total["quarantined.empty"], total["received"] - total["decoded"]) == (5, 1, 5)
    [in_gridfs] = [document for document in kept if "file" in document]
    assert in_gridfs["size"] == len(large)


def test_slow_and_deleted_filters_keep_nobody_waiting(chain: Chain) -> None:
    """A filter that takes for ever, and one deleted meanwhile: the stream goes on and the other filters run."""
    endless = {
        "$reduce": {"input": {"$range": [0, 2_000_000]}, "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}
    }
    slow = filter_document(4, [{"$addFields": {"n": endless}}, {"$match": {"n": {"$lt": 0}}}])
    chain.put_filters(slow)
    committed = chain.committed()
    sent = chain.publish(packet.data for packet in simulate(30, seed=13))
    chain.wait(lambda: chain.committed() == committed + sent, "the night with a slow filter done")
    chain.database.filters.delete_one({"filter_id": 4})
    sent += chain.publish(packet.data for packet in simulate(30, seed=14))
    chain.wait(lambda: chain.committed() == committed + sent and not chain.pending(), "the night without it done")
    assert chain.received()["violations"] == []


def test_real_night(chain: Chain, test_data: Path) -> None:
    """The 36 real packets: stored with their scores, in reach of penquins, none refused."""
    refused, committed = chain.database.quarantine.count_documents({}), chain.committed()
    packets = [packet.data for packet in packets_from(f"dir:{test_data / 'ztf_alerts'}")]
    sent = chain.publish(packets)
    chain.wait(lambda: chain.committed() == committed + sent and not chain.pending(), "the real night done")
    assert chain.database.quarantine.count_documents({}) == refused
    server = chain.system.config.server
    client = Kowalski(
        username=server.admin_username,
        password=server.admin_password,
        protocol="http",
        host=server.host,
        port=server.port,
    )
    query = {
        "query_type": "find",
        "query": {
            "catalog": "ZTF_alerts",
            "filter": {"candidate.jd": {"$lt": 2460300}},
            "projection": {"candid": 1, "classifications": 1},
        },
    }
    answer = client.query(query=query)["default"]
    assert answer["status"] == "success"
    assert len(answer["data"]) == sent == 36
    assert {len(document["classifications"]) for document in answer["data"]} == {12}
    assert chain.received()["violations"] == []


@pytest.mark.parametrize("program", ["alert-broker-ztf", "dask-cluster-ztf", "poster"])
def test_programs_stop_and_start_again(chain: Chain, program: str) -> None:
    """Each of the programs ends when asked to and takes up its work again."""
    committed = chain.committed()
    chain.system.restart(program)
    sent = chain.publish(packet.data for packet in simulate(20, seed=15 + len(program)))
    chain.wait(lambda: chain.committed() == committed + sent and not chain.pending(), f"the night after {program}")


def test_topics_that_appear_in_mid_night(chain: Chain) -> None:
    """A rebalance while reading is paused, batches being under way, does not stop the reading."""
    before = chain.stored()
    night = list(simulate(400, objects=400, seed=61))
    wanted = {"candid": {"$in": [packet.candid for packet in night]}}
    chain.publish(packet.data for packet in night[:300])
    chain.wait(lambda: chain.stored() > before, "the night begun")
    chain.topic = chain.topic.replace("programid1", "programid3")
    chain.publish(packet.data for packet in night[300:])
    chain.wait(lambda: chain.database.ZTF_alerts.count_documents(wanted) == 400, "both topics done")
    chain.wait(lambda: chain.committed() == 100, "the second topic committed")
    assert chain.books().balance == 0
