"""What is true of every store behind a verdict cache: one suite, run on each of them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from llama_guard_core.verdict_stores import VerdictStore

KEY, OTHER = "0a" * 32, "1b" * 32
ENTRY, NEWER = b'-\n{"form":1,"safe":true}', b'-\n{"form":1,"safe":false}'
SECRETS = ("swordfish", "a-folder-nobody-else-knows")


def pickled(store: VerdictStore) -> VerdictStore:
    """A copy as another process gets it."""
    copied: VerdictStore = pickle.loads(pickle.dumps(store))  # noqa: S301 (our own)
    return copied


class Kind(Protocol):
    """One sort of store. All that it opens stand before the same file, server or object, empty at first."""

    expires: bool
    copies_share: bool
    pickles: bool

    def open(self) -> VerdictStore: ...

    def unreachable(self) -> VerdictStore:
        """One whose file, server or object cannot be used."""

    def corrupt(self, key: str) -> None:
        """Put something under a key, past the store, that is no entry."""


class StoreContract:
    """The suite; a class of its own for each sort of store gives it the fixture `kind`."""

    @pytest.fixture
    def opened(self, kind: Kind) -> Iterator[Callable[[], VerdictStore]]:
        """Opens any number, and closes them all."""
        with contextlib.ExitStack() as closing:

            def open_one() -> VerdictStore:
                return closing.enter_context(contextlib.closing(kind.open()))

            yield open_one

    @pytest.fixture
    def store(self, opened: Callable[[], VerdictStore]) -> VerdictStore:
        return opened()

    def test_it_is_what_the_cache_asks_for(self, store: VerdictStore) -> None:
        assert isinstance(store, VerdictStore)

    def test_what_was_put_is_got_again_and_nothing_else(self, store: VerdictStore) -> None:
        assert store.get(KEY) is None
        store.put(KEY, ENTRY, max_age=None)
        assert (ENTRY, None) == (store.get(KEY), store.get(OTHER))

    async def test_async_code_puts_and_gets_the_same(self, store: VerdictStore) -> None:
        assert await store.aget(KEY) is None
        await store.aput(KEY, ENTRY, max_age=None)
        assert (ENTRY, None) == (await store.aget(KEY), await store.aget(OTHER))
        await store.aclose()

    async def test_each_colour_reads_what_the_other_wrote(self, store: VerdictStore) -> None:
        store.put(KEY, ENTRY, max_age=3600)
        await store.aput(OTHER, NEWER, max_age=3600)
        assert (ENTRY, NEWER) == (await store.aget(KEY), store.get(OTHER))
        await store.aclose()

    def test_a_newer_entry_takes_the_place_of_an_older_one(self, store: VerdictStore) -> None:
        store.put(KEY, ENTRY, max_age=None)
        store.put(KEY, NEWER, max_age=None)
        assert NEWER == store.get(KEY)

    def test_an_entry_is_kept_no_longer_than_told_where_the_store_knows_expiry(
        self, store: VerdictStore, kind: Kind
    ) -> None:
        store.put(KEY, ENTRY, max_age=0.01)
        store.put(OTHER, ENTRY, max_age=3600)
        if kind.expires:
            assert becomes(lambda: store.get(KEY) is None)
        else:
            assert ENTRY == store.get(KEY)
        assert ENTRY == store.get(OTHER)

    def test_an_entry_put_again_without_an_age_is_kept(self, store: VerdictStore, kind: Kind) -> None:
        store.put(OTHER, ENTRY, max_age=0.02)
        store.put(KEY, ENTRY, max_age=0.01)
        store.put(KEY, NEWER, max_age=None)
        assert not kind.expires or becomes(lambda: store.get(OTHER) is None)
        assert NEWER == store.get(KEY)

    def test_two_in_the_same_place_see_each_other(self, opened: Callable[[], VerdictStore]) -> None:
        one, other = opened(), opened()
        assert other.get(KEY) is None
        one.put(KEY, ENTRY, max_age=None)
        assert ENTRY == other.get(KEY)

    def test_threads_may_share_one(self, store: VerdictStore) -> None:
        def put_and_get(number: int) -> bool:
            key, entry = f"{number:064x}", b"-\n%d" % number
            store.put(key, entry, max_age=3600)
            return entry == store.get(key)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(put_and_get, range(200)))

    async def test_tasks_may_share_one(self, store: VerdictStore) -> None:
        async def put_and_get(number: int) -> bool:
            key, entry = f"{number:064x}", b"-\n%d" % number
            await store.aput(key, entry, max_age=3600)
            return entry == await store.aget(key)

        assert all(await asyncio.gather(*map(put_and_get, range(50))))
        await store.aclose()

    def test_event_loops_one_after_the_other_may_share_one(self, store: VerdictStore) -> None:
        async def seen() -> bytes | None:
            before = await store.aget(KEY)
            await store.aput(KEY, ENTRY, max_age=None)
            return before

        assert [None, ENTRY, ENTRY] == [asyncio.run(seen()) for _ in range(3)]

    async def test_a_closed_one_opens_again(self, store: VerdictStore) -> None:
        store.close()
        store.put(KEY, ENTRY, max_age=None)
        store.close()
        store.close()
        assert ENTRY == await store.aget(KEY)
        await store.aclose()
        await store.aclose()
        assert ENTRY == await store.aget(KEY)
        await store.aclose()

    def test_what_is_no_entry_is_none_or_an_error(self, store: VerdictStore, kind: Kind) -> None:
        store.put(OTHER, ENTRY, max_age=None)
        kind.corrupt(KEY)
        assert nothing_of(lambda: store.get(KEY))
        assert nothing_of(lambda: asyncio.run(store.aget(KEY)))
        assert ENTRY == store.get(OTHER)
        store.put(KEY, ENTRY, max_age=None)
        assert ENTRY == store.get(KEY)

    async def test_one_that_cannot_be_reached_says_so(self, kind: Kind) -> None:
        store = kind.unreachable()
        for _ in range(2):
            failures = [
                failure_of(lambda: store.get(KEY)),
                failure_of(lambda: store.put(KEY, ENTRY, max_age=None)),
                *await asyncio.gather(store.aget(KEY), store.aput(KEY, ENTRY, max_age=None), return_exceptions=True),
            ]
            assert all(isinstance(failure, Exception) for failure in failures)
            assert not any(secret in f"{failure!r}" for failure in failures for secret in SECRETS)
        store.close()
        await store.aclose()

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
    def test_a_copy_works_beside_the_original(
        self, store: VerdictStore, kind: Kind, copied: Callable[[VerdictStore], VerdictStore]
    ) -> None:
        store.put(KEY, ENTRY, max_age=None)
        if copied is pickled and not kind.pickles:
            assert failure_of(lambda: copied(store).get(KEY)) is not None
            return
        with contextlib.closing(copied(store)) as other:
            assert ENTRY == other.get(KEY)
            other.put(OTHER, NEWER, max_age=None)
            assert not kind.copies_share or NEWER == store.get(OTHER)
        assert ENTRY == store.get(KEY)

    def test_its_repr_tells_no_secret(self, store: VerdictStore) -> None:
        store.put(KEY, ENTRY, max_age=None)
        assert type(store).__name__ in repr(store)
        assert not any(secret in repr(store) for secret in SECRETS)


def failure_of(call: Callable[[], object]) -> Exception | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever a store raises)
        return error
    return None


def nothing_of(call: Callable[[], object]) -> bool:
    """Whether a call gives None, or raises."""
    try:
        return call() is None
    except Exception:  # noqa: BLE001 (as above)
        return True


def becomes(true: Callable[[], bool]) -> bool:
    """Whether it becomes true before ten seconds are over."""
    deadline = time.monotonic() + 10
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
