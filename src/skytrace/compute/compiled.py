"""Programs that JAX compiles, made once however many threads need them."""

from __future__ import annotations

import threading
from functools import wraps
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled_by_one"]


def compiled_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A jitted function, arguments arrays and keywords static, whose first call for each kind of arguments is made by
    one thread: others that need the same program wait for it, those that need another one don't.
    """
    guard = threading.Lock()
    locks: dict[Any, threading.Lock] = {}
    ready: set[Any] = set()

    @wraps(function)
    def call(*arrays: Any, **static: Any) -> Any:
        """``function`` of these arguments; the first call of a kind compiles while the others of that kind wait."""
        kinds = tuple((np.shape(leaf), str(jax.dtypes.result_type(leaf))) for leaf in jax.tree.leaves(arrays))
        key = (kinds, jax.tree.structure(arrays), tuple(sorted(static.items(), key=lambda item: item[0])))
        if key in ready:
            return function(*arrays, **static)
        with guard:
            lock = locks.setdefault(key, threading.Lock())
        with lock:
            out = jax.block_until_ready(function(*arrays, **static))
        ready.add(key)
        return out

    return call
