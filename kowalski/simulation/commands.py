"""What the tools `simulate_alerts.py` and `kafka_stream.py` do."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import ROOT, load_config
from kowalski.errors import ConfigError, KowalskiError, StreamError
from kowalski.night.dates import night_from
from kowalski.night.moments import jd_reader, of_archive, of_files, of_tarball, survey_of, without_jd
from kowalski.night.pace import Moment, Pace, speed_from
from kowalski.simulation.catalogs import write_catalogs
from kowalski.simulation.night import VISIT_SECONDS, default_objects, paced, simulate
from kowalski.simulation.publish import Publisher, packet_files
from kowalski.simulation.reshape import reshaped
from kowalski.simulation.tracking import SimulatedPacket

T = TypeVar("T")


def simulate_alerts(arguments: list[str] | None = None) -> int:
    """Simulate a night into a folder or a topic; the exit status."""
    parser = argparse.ArgumentParser(
        prog="simulate_alerts.py",
        description="Simulate a night of alert packets, and the catalogues that match them.",
    )
    parser.add_argument("--n", type=int, default=1000, help="alerts (default 1000)")
    parser.add_argument("--objects", type=int, help="objects they are of (default: a third of --n)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same bytes (default 1)")
    parser.add_argument("--night", default="20240101", help="YYYYMMDD (default 20240101)")
    parser.add_argument("--survey", type=_survey, default="ZTF", help="whose packets: ZTF (default), PGIR, WNTR, ...")
    parser.add_argument("--rate", type=float, help="alerts/s at most (default: as fast as possible)")
    burst = f"visits this many seconds apart, each at once ({VISIT_SECONDS:g} without a number)"
    parser.add_argument("--burst", type=float, nargs="?", const=VISIT_SECONDS, help=burst)
    parser.add_argument("--catalogs", type=Path, metavar="DIR", help="write the matching catalogues here too")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="write <candid>.avro files into this folder")
    target.add_argument("--topic", help="publish to this topic; {programid} in it is replaced by each alert's own")
    _add_test(parser)
    parser.add_argument("--partitions", type=int, default=1, help="of topics that don't exist yet (default 1)")
    options = parser.parse_args(arguments)
    try:
        packets = simulate(options.n, options.objects, options.seed, options.night)
    except ValueError as error:
        parser.error(str(error))
    packets = reshaped(packets, options.survey)
    packets = progress(paced(packets, options.rate, options.burst), options.n)
    if options.catalogs:
        objects = options.objects or default_objects(options.n)
        for name, rows in write_catalogs(options.catalogs, options.seed, objects).items():
            print(f"{name}: {rows} rows")
    return _status(_deliver, packets, options)


def kafka_stream(arguments: list[str] | None = None) -> int:
    """Publish packets to a topic; the exit status."""
    parser = argparse.ArgumentParser(
        prog="kafka_stream.py",
        description="Publish packets to Kafka: of a folder (.avro files, raw .wire messages), a tarball, or the packet archive.",
    )
    parser.add_argument("--topic", required=True, help="made if missing")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--path", "--path_alerts", help="folder or tarball of packets, absolute or under data/")
    source.add_argument(
        "--archive", type=_night, metavar="NIGHT", help="a night (YYYYMMDD) of the packet archive, as received"
    )
    pace = "with the intervals of their candidates' jds (real), or N times quicker; left out: as fast as possible"
    parser.add_argument("--pace", type=_speed, metavar="real|xN", help=pace)
    parser.add_argument("--survey", type=_survey, help="whose packets they are (default: the one with such topics)")
    parser.add_argument("--max_alerts", type=int, help="stop after so many")
    parser.add_argument("--partitions", type=int, default=1, help="of the topic, if it is made (default 1)")
    _add_test(parser)
    options = parser.parse_args(arguments)
    return _status(_stream, options)


def progress(items: Iterable[T], total: int | None, what: str = "packets") -> Iterator[T]:
    """The items, with a line on stderr that says how many have passed, of how many where that is known."""
    done, of = 0, f" of {total}" if total is not None else ""
    for done, item in enumerate(items, 1):
        yield item
        if done % 100 == 0 or done == total:
            print(f"\r{done}{of} {what}", end="", file=sys.stderr, flush=True)
    print(f"\r{done}{of} {what}", file=sys.stderr)


def _status(command: Callable[..., None], *arguments: Any) -> int:
    """The exit status of a command, its error said in one line."""
    try:
        command(*arguments)
    except KowalskiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _deliver(packets: Iterable[SimulatedPacket], options: argparse.Namespace) -> None:
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for packet in packets:
            (options.out / f"{packet.candid}.avro").write_bytes(packet.data)
        return
    with Publisher(_bootstrap(options), options.partitions) as publisher:
        for packet in packets:
            topic = options.topic.replace("{programid}", str(packet.programid))
            publisher.send(topic, packet.data, f"candid {packet.candid}")


def _stream(options: argparse.Namespace) -> None:
    moments, total = _moments(options)
    pace = Pace(options.pace) if options.pace else None
    if pace:
        timed = list(progress(moments, total, "packets looked at"))
        moments, total = pace.paced(timed), len(timed)
    if options.max_alerts is not None:
        total = options.max_alerts if total is None else min(total, options.max_alerts)
    with Publisher(_bootstrap(options), options.partitions) as publisher:
        for moment in progress(islice(moments, options.max_alerts), total):
            publisher.send(options.topic, moment.read(), moment.name)
    if pace and pace.behind > 1:
        print(f"up to {pace.behind:.1f} s late: that is as fast as it goes here", file=sys.stderr)


def _moments(options: argparse.Namespace) -> tuple[Iterator[Moment], int | None]:
    """The packets asked for, and how many they are, where that is known beforehand."""
    config = load_config()
    if options.archive:
        survey = options.survey or survey_of(options.topic, config)
        return of_archive(ROOT / config.archive.folder, survey, options.archive), None
    jd_of = jd_reader(options.survey or survey_of(options.topic, config), config) if options.pace else without_jd
    if (path := ROOT / "data" / options.path).is_file():  # an absolute path stays itself
        return of_tarball(path, jd_of), None
    files = packet_files(options.path)
    return of_files(files, jd_of), len(files)


def _bootstrap(options: argparse.Namespace) -> str:
    kafka = load_config().kafka
    return kafka.bootstrap_test_servers if options.test else kafka.bootstrap_servers


def _add_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--test", type=_truth, nargs="?", const=True, default=False, help="publish to kafka.bootstrap.test.servers"
    )


def _survey(name: str) -> Survey:
    try:
        return get_survey(name)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _night(text: str) -> str:
    try:
        return f"{night_from(text):%Y%m%d}"
    except StreamError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> float:
    try:
        return speed_from(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither real nor xN, e.g. x10") from None


def _truth(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text} is neither True nor False")
    return words[text.lower()]
