"""What is kept of what comes again: the least recently used goes first, each is made once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Values by key up to a total size, for any number of threads; the least recently used are forgotten.

    Args:
        most: the total size of what is kept.
        size_of: the size of a key with its value.
    """

    def __init__(self, most: int, size_of: Callable[[Hashable, V], int]) -> None:
        self.most = most
        self.size = 0
        self._size_of = size_of
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._making: dict[Hashable, Future[V]] = {}

    def get(self, key: Hashable, /) -> V | None:
        """Return the value of a key, None if it is not known."""
        with self._lock:
            return self._find(key)

    def __setitem__(self, key: Hashable, value: V, /) -> None:
        size = self._size_of(key, value)
        with self._lock:
            self.size -= self._kept.pop(key, (value, 0))[1]
            # What is larger than the whole would throw out everything for a value that is itself thrown out.
            if size <= self.most:
                self._kept[key] = (value, size)
                self.size += size
            while self.size > self.most:
                self.size -= self._kept.popitem(last=False)[1][1]

    def get_or_make(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key, made now if it is not known; threads that ask meanwhile wait for the first."""
        with self._lock:
            known = self._find(key)
            if known is not None:
                return known
            other, own = self._making.get(key), Future[V]()
            if other is None:
                self._making[key] = own
        if other is not None:
            return other.result()
        try:
            value = make()
        except BaseException as error:
            own.set_exception(error)
            raise
        else:
            self[key] = value
            own.set_result(value)
            return value
        finally:
            with self._lock:
                del self._making[key]

    def _find(self, key: Hashable) -> V | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]
