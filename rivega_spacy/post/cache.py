"""The one cache of the package: what was used last is kept, up to a bound."""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")
_ALL: "weakref.WeakSet[RecentCache]" = weakref.WeakSet()


class RecentCache(Generic[Value]):
    """Values by key, least recently used out first; safe to use from several threads.

    limit (int): Bound of the sum of the values' sizes. The last value put in is kept, however large it is.
    size_of (Callable[[Value], int]): A value's size, for example its bytes; without one the values are counted.
    """

    def __init__(self, limit: int, size_of: Callable[[Value], int] | None = None) -> None:
        self.limit = limit
        self.size = 0
        self.lock = threading.Lock()
        self._size_of = size_of
        self._items: OrderedDict[Hashable, Value] = OrderedDict()
        _ALL.add(self)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Hashable) -> Value | None:
        """The value, or None."""
        with self.lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value, in the place of what was kept under the key."""
        with self.lock:
            if key in self._items:
                self.size -= self._weigh(self._items.pop(key))
            self._items[key] = value
            self.size += self._weigh(value)
            self._shrink(least=1)

    def resize(self, limit: int) -> None:
        """Another bound; what is too much for it is forgotten at once."""
        with self.lock:
            self.limit = limit
            self._shrink(least=0)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self._items.clear()
            self.size = 0

    def _shrink(self, *, least: int) -> None:
        while self.size > self.limit and len(self._items) > least:
            self.size -= self._weigh(self._items.popitem(last=False)[1])

    def _weigh(self, value: Value) -> int:
        return 1 if self._size_of is None else self._size_of(value)


def _renew_locks() -> None:
    for cache in list(_ALL):
        cache.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A forked worker may inherit a lock in locked state.
    os.register_at_fork(after_in_child=_renew_locks)
