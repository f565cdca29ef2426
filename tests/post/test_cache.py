"""The cache: what was used last is kept, up to a bound."""

import os
import signal

import pytest

from rivega_spacy.post.cache import RecentCache


def test_the_least_recently_used_value_goes_first():
    cache = RecentCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None and cache.get("a") == 1 and cache.get("c") == 3


def test_values_are_bounded_by_their_sizes_and_the_last_one_is_always_kept():
    cache = RecentCache(10, len)
    cache.put("a", "x" * 6)
    cache.put("b", "x" * 4)
    assert cache.size == 10 and cache.get("a")
    cache.put("b", "x" * 5)
    assert cache.get("a") is None and cache.size == 5
    cache.put("c", "x" * 50)
    assert len(cache) == 1 and cache.size == 50
    cache.clear()
    assert cache.get("c") is None and cache.size == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_worker_does_not_wait_for_a_lock_of_its_parent():
    cache = RecentCache(2)
    cache.put("a", 1)
    with cache.lock:
        child = os.fork()
        if not child:
            signal.alarm(5)
            os._exit(0 if cache.get("a") == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_smaller_bound_holds_at_once():
    cache = RecentCache(10, len)
    for key in "abc":
        cache.put(key, "x" * 3)
    cache.resize(4)
    assert len(cache) == 1 and cache.size == 3 and cache.get("c")
    cache.put("d", "x")
    assert cache.size == 4 and cache.get("c")
    # One that is larger than the new bound goes too.
    cache.resize(2)
    assert len(cache) == 0 == cache.size
