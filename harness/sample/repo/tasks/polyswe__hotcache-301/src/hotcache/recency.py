"""Entries from least to most recently used."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from hotcache.entry import Entry


class Recency:
    """A thin layer over OrderedDict that spells out which end is which."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Least recently used first; safe against removals while iterating."""
        return iter(list(self._entries.values()))

    def peek(self, key: Hashable) -> Entry | None:
        return self._entries.get(key)

    def touch(self, key: Hashable) -> None:
        self._entries.move_to_end(key)

    def push(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self._entries.move_to_end(entry.key)

    def pop(self, key: Hashable) -> Entry | None:
        return self._entries.pop(key, None)

    def coldest(self) -> Entry:
        return next(iter(self._entries.values()))

    def drain(self) -> list[Entry]:
        entries = list(self._entries.values())
        self._entries.clear()
        return entries
