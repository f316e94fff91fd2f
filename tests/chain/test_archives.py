"""Folders and tarballs of packets through a running system: whole nights, histories only, cut off, killed half way.

The system keeps its packets in the packet archive, out of which a night comes again as it was.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Chain, filter_document
from packets import real_files

from kowalski.archive.packets.reading import PacketArchive
from kowalski.config import ROOT
from kowalski.local.status import report_of
from kowalski.local.system import LocalSystem
from kowalski.simulation.night import simulate


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A whole system that keeps its packets."""
    folder = tmp_path_factory.mktemp("chain")
    archive = {"enabled": True, "folder": str(folder / "archive"), "close_after": 5, "remote": f"file://{folder}/store"}
    changes = {"kafka": {"metadata_refresh": 1}, "broker": {"batch_size": 64}, "archive": archive}
    system = LocalSystem.isolated(folder / "system", changes)
    system.start()
    yield Chain(system)
    system.stop()
    assert system.processes() == []


@pytest.fixture(autouse=True)
def _empty(chain: Any) -> Iterator[None]:
    """The next test begins with nothing."""
    yield
    for name in ("ZTF_alerts", "ZTF_alerts_aux", "outbox", "quarantine", "filters", "archive_replays"):
        chain.database[name].delete_many({})


def started(chain: Any, source: Path, *options: str, night: str = "20240301") -> subprocess.Popen[str]:
    """The command at work on an archive."""
    command = [sys.executable, str(ROOT / "kowalski.py"), "replay", "ZTF", night, "--from", str(source), *options]
    environment = os.environ | {"KOWALSKI_CONFIG": str(chain.system.config_file)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def replayed(chain: Any, source: Path, *options: str, night: str = "20240301") -> tuple[int, str]:
    """Its exit status, and what it says."""
    process = started(chain, source, *options, night=night)
    out, err = process.communicate(timeout=280)
    assert "Traceback" not in err, err
    return process.returncode, out + err


def tarball(path: Path, packets: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in packets.items():
            info = tarfile.TarInfo(f"ztf_public_20240301/{name}.avro")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return path


def simulated(number: int, seed: int) -> dict[str, bytes]:
    return {str(packet.candid): packet.data for packet in simulate(number, seed=seed, night="20240301")}


def histories(chain: Any) -> list[dict[str, Any]]:
    fields = {"prv_candidates": 1, "fp_hists": 1, "first_alert": 1, "cross_matches": 1}
    return list(chain.database.ZTF_alerts_aux.find({}, fields).sort("_id", 1))


def test_histories_of_real_packets(chain: Any, test_data: Path, tmp_path: Path) -> None:
    """They are those that the alerts bring, and the alerts come later as if nothing had been; a broken packet is in quarantine."""
    packets = {path.stem: path.read_bytes() for path in real_files(test_data)}
    broken = next(iter(packets.values()))[:-20]
    chain.put_filters(filter_document(1, [{"$match": {"candid": {"$gt": 0}}}]))
    night = tarball(tmp_path / "night.tar.gz", {**packets, "broken": broken})
    status, said = replayed(chain, night, "--history-only")
    assert (
        f"37 packets of ZTF 20240301: histories of {len(packets)} merged into their objects, 1 quarantined (1 truncated)"
        in said
    )
    assert (status, len(packets), chain.stored()) == (0, 36, 0)
    assert chain.database.outbox.count_documents({}) == 0
    merged = histories(chain)
    assert len(merged) == 35
    assert any(each["prv_candidates"] for each in merged)
    assert all("Gaia_EDR3" in each["cross_matches"] for each in merged)
    assert [each["topic"] for each in chain.database.quarantine.find()] == ["tar:ztf_public_20240301/broken.avro"]
    assert replayed(chain, night, "--history-only") == (status, said)
    assert histories(chain) == merged
    status, said = replayed(chain, night, "--no-post")
    assert "36 stored, 0 known already, 1 quarantined (1 truncated), 36 filter passes, 0 to be posted" in said
    assert (status, chain.stored(), histories(chain)) == (0, 36, merged)
    assert chain.database.outbox.count_documents({}) == 0


def test_half_a_tarball(chain: Any, tmp_path: Path) -> None:
    """What is whole of it is stored, then it is said that the rest is missing; the whole one adds the rest."""
    whole = tarball(tmp_path / "night.tar.gz", simulated(60, seed=41))
    half = tmp_path / "half.tar.gz"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    status, said = replayed(chain, half, "--no-post")
    stored = chain.stored()
    assert 20 <= stored < 40
    assert status == 1
    assert f"{stored} packets of ZTF 20240301: {stored} stored" in said
    assert f"not read: {half}: the end of it after {stored} packets can't be read as a tarball" in said
    status, said = replayed(chain, whole, "--no-post")
    assert (status, chain.stored()) == (0, 60)
    assert f"{60 - stored} stored, {stored} known already" in said


#: of a replay that is killed
PACKETS = 250


def test_killed_half_way(chain: Any, tmp_path: Path) -> None:
    """Nothing is missed, whatever the killed one had left half done; what it had done isn't done again."""
    chain.put_filters(filter_document(1, [{"$match": {"candid": {"$gt": 0}}}]))
    night = tarball(tmp_path / "night.tar.gz", simulated(PACKETS, seed=42))
    first = started(chain, night)
    deadline = time.monotonic() + 150
    while not 0 < (chain.database.archive_replays.find_one() or {"done": 0})["done"] < PACKETS:
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = chain.database.archive_replays.find_one()["done"]
    status, said = replayed(chain, night)
    assert status == 0
    assert f"{done} packets were done before an earlier replay was interrupted" in said
    assert f"{PACKETS - done} packets of ZTF 20240301: " in said
    assert chain.stored() == PACKETS
    assert chain.database.outbox.count_documents({"kind": "candidate"}) == PACKETS
    assert chain.database.archive_replays.count_documents({}) == 0
    status, said = replayed(chain, night)
    assert f"{PACKETS} packets of ZTF 20240301: 0 stored, {PACKETS} known already" in said


def test_verified(chain: Any, tmp_path: Path) -> None:
    """By the command, of the archived packets: what came through the whole system is the same when made again."""
    chain.put_filters(filter_document(1, [{"$match": {"candid": {"$gt": 0}}}]))
    packets = simulated(12, seed=43)
    assert replayed(chain, tarball(tmp_path / "night.tar.gz", packets))[0] == 0
    for candid in [*packets][:2]:
        status, told = verified(chain, candid)
        assert [each for each in told["rows"] if each["verdict"] not in ("same", "changed")] == []
        assert (status, told["status"]) == (0, 0)
        assert {each["section"] for each in told["rows"]} == {"document", "scores", "matches", "light curve", "filters", "outbox"}  # fmt: skip
    chain.database.ZTF_alerts.update_one({"candid": int(candid)}, {"$set": {"candidate.fid": 9}})
    status, told = verified(chain, candid)
    assert status == 1
    assert [each["thing"] for each in told["rows"] if each["verdict"] == "differs"] == ["candidate.fid"]
    assert verified(chain, "1") == (2, {})


def verified(chain: Any, candid: str) -> tuple[int, dict[str, Any]]:
    """Exit status of the command, and what it says."""
    command = [sys.executable, str(ROOT / "kowalski.py"), "verify", candid, "--json"]
    environment = os.environ | {"KOWALSKI_CONFIG": str(chain.system.config_file)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout or "{}")


def stored_by(chain: Chain) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Alerts and objects, without what is new with each run."""
    alerts = list(chain.database.ZTF_alerts.find({}, {"_id": 0}).sort("candid", 1))
    for alert in alerts:
        scores, _ = alert.pop("classifications"), alert.pop("trace")
        alert["scores"] = {name: pytest.approx(value, abs=1e-4) for name, value in scores.items() if name != "braai_version" and isinstance(value, float)}  # fmt: skip
    hidden = {"version": 0, "matched": 0}
    return alerts, list(chain.database.ZTF_alerts_aux.find({}, hidden).sort("_id", 1))


def test_a_night_of_the_packet_archive(chain: Chain) -> None:
    """All that was acknowledged is there, though a worker was killed; gone from MongoDB, it comes again as it was.

    What was refused for its header's schema is processed then, and leaves quarantine.
    """
    packets = list(simulated(300, seed=44).values())
    last = packets.pop()
    hurt = last.replace(b'"double"', b'"dubble"')
    assert hurt != last
    chain.publish([*packets, hurt, b"garbage"])
    chain.wait(lambda: chain.stored() > 20, "some stored")
    scheduler = psutil.Process(chain.system.pid_of("dask-cluster-ztf"))
    worker = next(each for each in scheduler.children(recursive=True) if "spawn_main" in " ".join(each.cmdline()))
    worker.kill()
    chain.wait(lambda: chain.committed() == 301, "all acknowledged")
    assert (chain.stored(), chain.database.quarantine.count_documents({})) == (299, 2)
    night = chain.survey.night_of(chain.topic) or ""
    archive = PacketArchive(Path(chain.system.config.archive.folder))
    kept = list(archive.messages("ZTF", night))
    assert sorted(each.received() for each in kept) == sorted([*packets, hurt, b"garbage"])
    alerts, objects = stored_by(chain)
    for name in ("ZTF_alerts", "ZTF_alerts_aux"):
        chain.database[name].delete_many({})
    status, said = replayed(chain, Path("archive"), "--no-post", night=night)
    assert (status, f"301 packets of ZTF {night}: 300 stored, 0 known already, 1 quarantined (1 not_avro)" in said) == (0, True), said  # fmt: skip
    again, objects_again = stored_by(chain)
    new = [each for each in again if each["candid"] not in {alert["candid"] for alert in alerts}]
    assert [each["kafka"]["topic"] for each in new] == [chain.topic]
    assert [each for each in again if each not in new] == alerts
    mended = {each["objectId"] for each in new}
    assert [each for each in objects_again if each["_id"] not in mended] == [each for each in objects if each["_id"] not in mended]  # fmt: skip
    assert [each["reason"] for each in chain.database.quarantine.find()] == ["not_avro"]
    assert len(list(archive.messages("ZTF", night))) == 301
    status, said = replayed(chain, Path("archive"), "--no-post", night=night)
    assert (status, f"301 packets of ZTF {night}: 0 stored" in said) == (0, True), said


def test_what_status_says_of_the_archive(chain: Chain) -> None:
    """All of it is closed in the end, and uploaded."""
    chain.wait(lambda: report_of(chain.system)["archive"]["files"] > 0, "the keeper has looked")
    chain.wait(lambda: report_of(chain.system)["archive"]["open"] == 0, "all closed")
    chain.wait(lambda: report_of(chain.system)["archive"]["to_upload"] == 0, "all uploaded")
    told = report_of(chain.system)["archive"]
    folder = Path(chain.system.config.archive.folder)
    store = folder.parent / "store"
    assert len(list(store.rglob("*.avro"))) == len(list(folder.rglob("*.avro"))) == told["files"]
    assert (told["enabled"], told["alarm"], told["packets"] >= 301) == (True, "", True)


def test_wrong_arguments(chain: Any, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tarball")
    for source, options, complaint in [
        (tmp_path / "text", (), "can't be read as a tarball"),
        (tmp_path / "nothing", (), "is nothing: give kafka, quarantine, archive, dir:PATH"),
        (Path("kafka"), ("--history-only",), "--history-only is for archives"),
    ]:
        status, said = replayed(chain, source, *options)
        assert (status, complaint in said) == (1, True), said
