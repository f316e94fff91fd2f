"""What the tools `simulate_alerts.py` and `kafka_stream.py` do."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import load_config
from kowalski.errors import ConfigError, KowalskiError
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
    """Publish a folder of packets to a topic; the exit status."""
    parser = argparse.ArgumentParser(
        prog="kafka_stream.py", description="Publish a folder of packets (.avro files, raw .wire messages) to Kafka."
    )
    parser.add_argument("--topic", required=True, help="made if missing")
    parser.add_argument("--path", "--path_alerts", required=True, help="folder of packets, absolute or under data/")
    parser.add_argument("--max_alerts", type=int, help="stop after so many")
    parser.add_argument("--partitions", type=int, default=1, help="of the topic, if it is made (default 1)")
    _add_test(parser)
    options = parser.parse_args(arguments)
    return _status(_stream, options)


def progress(items: Iterable[T], total: int) -> Iterator[T]:
    """The items, with a line on stderr that says how many have passed."""
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        if done % 100 == 0 or done == total:
            print(f"\r{done} of {total} packets", end="", file=sys.stderr, flush=True)
    print(f"\r{done} of {total} packets", file=sys.stderr)


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
    files = packet_files(options.path)[: options.max_alerts]
    with Publisher(_bootstrap(options), options.partitions) as publisher:
        for file in progress(files, len(files)):
            publisher.send(options.topic, file.read_bytes(), str(file))


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


def _truth(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text} is neither True nor False")
    return words[text.lower()]
