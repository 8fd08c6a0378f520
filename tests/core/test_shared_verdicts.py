"""What comes out of a store behind the cache is checked, and no verdict depends on the store."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider

from llama_guard_core import LlamaGuard, Policy, VerdictCache, verdict_cache
from llama_guard_core.guardrail.hazards import HazardCategory
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.verdict_entries import read_entry, written_entry

SECRET = "correct horse"
ADDRESS = "redis://:password@host"
UNSAFE = Verdict(safe=False, categories=(HazardCategory("S9", "Indiscriminate Weapons", 4),), score=0.75, model="m")
SAFE = Verdict(safe=True, host="OpenRouter", provider="Groq", generation_id="gen-1")


class Store:
    """Keeps entries in a dict, or fails."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.fails: type[Exception] | None = None
        self.stalls = False

    def get(self, key: str) -> bytes | None:
        if self.fails:
            raise self.fails(ADDRESS)
        return self.entries.get(key)

    async def aget(self, key: str) -> bytes | None:
        if self.stalls:
            await asyncio.sleep(60)
        return self.get(key)

    def put(self, key: str, entry: bytes, *, max_age: float | None) -> None:
        if self.fails:
            raise self.fails(ADDRESS)
        self.entries[key] = entry

    async def aput(self, key: str, entry: bytes, *, max_age: float | None) -> None:
        if self.stalls:
            await asyncio.sleep(60)
        self.put(key, entry, max_age=max_age)

    def close(self) -> None: ...

    async def aclose(self) -> None: ...


Make = Callable[..., LlamaGuard]


@pytest.fixture
def make(provider: FakeProvider) -> Make:
    """A guard with an empty memory of its own and a store."""

    def make(store: Store | VerdictCache, **settings: Any) -> LlamaGuard:
        cache = store if isinstance(store, VerdictCache) else VerdictCache(store=store)
        clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
        return LlamaGuard(api_key="sk-or-v1-test", cache=cache, **clients, **settings)

    return make


@pytest.mark.parametrize("verdict", [SAFE, UNSAFE])
@pytest.mark.parametrize("secret", [None, b"s"])
def test_what_was_written_is_read_again(verdict: Verdict, secret: bytes | None) -> None:
    entry = written_entry("k", verdict, secret=secret, now=10.0)
    assert entry is not None
    assert (5.0, verdict) == read_entry("k", entry, secret=secret, now=15.0)


async def test_one_guard_asks_and_the_others_know_in_both_colours(make: Make, provider: FakeProvider) -> None:
    store = Store()
    first = make(store).check("a BOMB")
    second, third = make(store).check("a BOMB"), await make(store).acheck("a BOMB")
    assert 1 == len(provider.guard_questions)
    assert [(False, "S9", cached) for cached in (False, True, True)] == [
        (each.safe, each.categories[0].code, each.cached) for each in (first, second, third)
    ]
    await make(store).acheck("rain")
    assert make(store).check("rain").cached


def test_a_store_holds_nothing_of_what_was_judged_or_answered(make: Make) -> None:
    store = Store()
    make(store).check("the darling of the KNIFE")
    kept = repr(store.entries)
    assert not [word for word in ("darling", "KNIFE", "unsafe", "sk-or") if word in kept]


def _changed(entry: bytes, **fields: Any) -> bytes:
    signature, _, body = entry.partition(b"\n")
    return signature + b"\n" + json.dumps({**json.loads(body), **fields}).encode()


POISON: dict[str, Callable[[bytes], object]] = {
    "empty": lambda entry: b"",
    "text": lambda entry: entry.decode(),
    "no bytes": lambda entry: {"safe": True},
    "safe alone": lambda entry: b"safe",
    "cut": lambda entry: entry[:-1],
    "half": lambda entry: entry[: len(entry) // 2],
    "no signature": lambda entry: entry.partition(b"\n")[2],
    "trailing": lambda entry: entry + b"{}",
    "another key": lambda entry: _changed(entry, key="0" * 64),
    "another form": lambda entry: _changed(entry, form=2),
    "a field too many": lambda entry: _changed(entry, answer="safe"),
    "a field of another type": lambda entry: _changed(entry, safe="true"),
    "a number for a truth": lambda entry: _changed(entry, safe=1),
    "unsafe without a hazard": lambda entry: _changed(entry, safe=False),
    "safe with a hazard": lambda entry: _changed(entry, categories=[["S1", "Violent Crimes", 4]]),
    "an unknown version": lambda entry: _changed(entry, categories=[["S1", "x", 9]], safe=False),
    "no time": lambda entry: _changed(entry, made=None),
    "made tomorrow": lambda entry: _changed(entry, made=4e9),
    "made never": lambda entry: entry.replace(b'"made":', b'"made":NaN,"x":'),
    "control characters": lambda entry: _changed(entry, model="\x1b[2J"),
    "huge": lambda entry: _changed(entry, model="m" * 20_000),
    "deep": lambda entry: b"-\n" + b"[" * 15_000,
    "not UTF-8": lambda entry: b"-\n\xff\xfe",
}


@pytest.mark.parametrize("poisoned", POISON.values(), ids=POISON)
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_an_entry_that_is_not_what_was_written_is_a_miss(
    make: Make, provider: FakeProvider, poisoned: Callable[[bytes], Any], colour: str
) -> None:
    store = Store()
    make(store).check("rain")
    ((key, entry),) = store.entries.items()
    store.entries[key] = poisoned(entry)
    guard = make(store)
    verdict = guard.check("rain") if colour == "sync" else await guard.acheck("rain")
    assert (True, False, 2) == (verdict.safe, verdict.cached, len(provider.guard_questions))
    assert entry.partition(b'"made"')[0] == store.entries[key].partition(b'"made"')[0]


def test_the_verdict_on_one_text_put_under_another_ones_key_is_a_miss(make: Make) -> None:
    store = Store()
    make(store).check("rain")
    ((safe_key, safe_entry),) = store.entries.items()
    make(store).check("a BOMB")
    (unsafe_key,) = store.entries.keys() - {safe_key}
    store.entries[unsafe_key] = safe_entry
    verdict = make(store).check("a BOMB")
    assert (False, False) == (verdict.safe, verdict.cached)


@pytest.mark.parametrize("readers_secret", [None, "another"])
def test_with_a_secret_nobody_else_can_make_an_entry(make: Make, readers_secret: str | None) -> None:
    store, forged = Store(), Store()
    make(VerdictCache(store=store, secret=SECRET)).check("a BOMB")
    ((key, entry),) = store.entries.items()
    make(VerdictCache(store=forged, secret=readers_secret)).check("rain")
    ((_, safe_entry),) = forged.entries.items()
    for poison in (safe_entry, _changed(entry, safe=True, categories=[])):
        store.entries[key] = poison
        verdict = make(VerdictCache(store=store, secret=SECRET)).check("a BOMB")
        assert (False, False) == (verdict.safe, verdict.cached)


def test_without_the_secret_nobody_finds_whether_a_text_was_judged(make: Make) -> None:
    store, guessing = Store(), Store()
    make(VerdictCache(store=store, secret=SECRET)).check("rain")
    make(VerdictCache(store=guessing)).check("rain")
    assert not store.entries.keys() & guessing.entries.keys()
    assert make(VerdictCache(store=store, secret=SECRET)).check("rain").cached


def test_an_outdated_entry_is_a_miss_and_its_age_counts_in_memory_too(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(verdict_cache, "monotonic", lambda: now[0])
    monkeypatch.setattr(verdict_cache.time, "time", lambda: now[0])
    store = Store()
    make(VerdictCache(store=store, max_age=60)).check("rain")
    now[0] += 40
    late = make(VerdictCache(store=store, max_age=60))
    assert late.check("rain").cached
    now[0] += 21
    assert not late.check("rain").cached
    now[0] += 61
    assert not make(VerdictCache(store=store, max_age=60)).check("rain").cached


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_store_that_fails_changes_no_verdict_and_is_not_quoted(
    make: Make, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.fails = ConnectionError
    guard = make(store)
    with caplog.at_level(logging.DEBUG):
        verdict = guard.check("a BOMB") if colour == "sync" else await guard.acheck("a BOMB")
    assert not verdict.safe
    assert "the verdict store failed (ConnectionError)" in caplog.text
    assert "password" not in caplog.text


def test_a_store_that_failed_is_left_alone_for_a_while(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(verdict_cache, "monotonic", lambda: now[0])
    store = Store()
    store.fails = ConnectionError
    guard = make(store)
    guard.check("one")
    store.fails = None
    guard.check("two")
    assert {} == store.entries
    now[0] += 5.1
    guard.check("three")
    assert 1 == len(store.entries)


async def test_a_store_that_answers_nobody_is_left_alone_after_a_while(make: Make) -> None:
    store = Store()
    store.stalls = True
    guard = make(VerdictCache(store=store, patience=0.05))
    verdict = await asyncio.wait_for(guard.acheck("a BOMB"), 5)
    assert not verdict.safe
    assert (await guard.acheck("a BOMB")).cached


def test_a_guard_takes_a_store_in_the_place_of_a_cache(provider: FakeProvider) -> None:
    store = Store()
    guard = LlamaGuard(api_key="k", http_client=provider.client(), cache=store)
    guard.check("rain")
    assert 1 == len(store.entries)
    assert isinstance(guard.cache, VerdictCache)


def test_a_copy_has_the_same_store_and_an_empty_memory(make: Make) -> None:
    cache = VerdictCache(max_entries=7, store=Store())
    make(cache).check("rain")
    copied = pickle.loads(pickle.dumps(cache))  # noqa: S301 - made here
    assert (0, 7, 1) == (len(copied), copied.max_entries, len(copied.store.entries))
    assert make(copied).check("rain").cached


def test_a_copy_made_by_pickle_has_no_secret_and_so_no_store(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Without the secret it would believe whoever writes to the store, and tell him what was judged."""
    cache = VerdictCache(store=Store(), secret=SECRET)
    make(cache).check("rain")
    sent = pickle.dumps(cache)
    assert SECRET.encode() not in sent
    copied = pickle.loads(sent)  # noqa: S301 - made here
    assert copied.store is None
    assert "holds no secret" in caplog.text
    assert not make(copied).check("rain").cached
    assert make(copied).check("rain").cached


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_in_this_process_keeps_the_secret(make: Make, copied: Callable[[VerdictCache], VerdictCache]) -> None:
    cache = VerdictCache(store=Store(), secret=SECRET)
    make(cache).check("rain")
    assert make(copied(cache)).check("rain").cached


def test_a_policy_that_excludes_a_hazard_has_entries_of_its_own(make: Make) -> None:
    store = Store()
    policy = Policy(excluded_categories=("S9",))
    assert make(store, policy=policy).check("a BOMB").safe
    assert not make(store).check("a BOMB").safe


def test_the_repr_of_a_cache_has_no_secret() -> None:
    assert SECRET not in repr(VerdictCache(store=Store(), secret=SECRET))
