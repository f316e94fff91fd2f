"""Packets from anywhere through the running system's chain."""

from collections.abc import Iterator

from rich.progress import Progress

from kowalski.alerts.batches import Batch
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey
from kowalski.batch_report import BatchReport
from kowalski.dispatcher import Dispatcher
from kowalski.settings import Config


def replay_packets(
    survey: Survey, config: Config, packets: Iterator[Packet], posting: bool, bar: Progress, resume: bool = False
) -> BatchReport:
    """Packets through the chain, a few batches at a time; ``resume``: of what is stored already something may have been left undone."""
    dispatcher = Dispatcher(survey.name, config, posting, resume)
    task = bar.add_task(survey.name, total=None)
    for _ in batches_done(dispatcher, packets):
        bar.update(task, completed=dispatcher.report.received)
    dispatcher.close()
    return dispatcher.report


def batches_done(dispatcher: Dispatcher, packets: Iterator[Packet]) -> Iterator[list[Batch]]:
    """Send packets through the chain; gives, now and then, the batches that are done, until all are."""
    limits = dispatcher.config.broker
    for batch in _batches(packets, limits.batch_size, limits.batch_bytes):
        dispatcher.begin(batch)
        while dispatcher.full:
            yield dispatcher.finished(timeout=0.1)
    while not dispatcher.idle:
        yield dispatcher.finished(timeout=0.1)


def _batches(packets: Iterator[Packet], number: int, size: int) -> Iterator[list[Packet]]:
    """The packets in batches of at most so many, and of so many bytes and one packet more."""
    batch: list[Packet] = []
    for packet in packets:
        batch.append(packet)
        if len(batch) == number or sum(len(each.data) for each in batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch
