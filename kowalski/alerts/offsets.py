"""Which offsets may be committed: per partition and in order, only what is stored."""

from collections.abc import Iterable

Partition = tuple[str, int]


class OffsetTracker:
    """Remembers the messages under way and how far each partition is done without a gap."""

    def __init__(self) -> None:
        self._pending: dict[Partition, dict[int, None]] = {}
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}

    def started(self, messages: Iterable[tuple[Partition, int]]) -> None:
        """Messages, in the order of their offsets, are under way."""
        for partition, offset in messages:
            self._pending.setdefault(partition, {})[offset] = None
            self._next[partition] = max(offset + 1, self._next.get(partition, 0))

    def finished(self, messages: Iterable[tuple[Partition, int]]) -> None:
        """All that these messages cause is stored; those of partitions that were given up meanwhile are ignored."""
        for partition, offset in messages:
            self._pending.get(partition, {}).pop(offset, None)

    def positions(self) -> dict[Partition, int]:
        """The next offset to read of each partition, were it read anew now."""
        return {partition: min(self._pending.get(partition) or (after,)) for partition, after in self._next.items()}

    def to_commit(self) -> dict[Partition, int]:
        """The positions that changed since the last call of `committed`."""
        return {
            partition: offset
            for partition, offset in self.positions().items()
            if offset != self._committed.get(partition)
        }

    def committed(self, offsets: dict[Partition, int]) -> None:
        """These offsets are Kafka's now."""
        self._committed |= offsets

    def give_up(self, partitions: Iterable[Partition]) -> None:
        """These partitions are somebody else's now."""
        for partition in partitions:
            self._pending.pop(partition, None)
            self._next.pop(partition, None)
            self._committed.pop(partition, None)

    @property
    def under_way(self) -> int:
        """How many messages are not finished."""
        return sum(len(offsets) for offsets in self._pending.values())
