"""Tests that fail, for pytest to write out: not one of ours, it is run by itself with the host's address set."""

from __future__ import annotations

import asyncio
import logging
import os

from key_hunt import core_things, keys, langchain_things
from key_hunt.hosts import broken_wire
from llama_guard_core import LlamaGuard

URL = os.environ.get("KEY_HUNT_URL", "")


def _guard() -> LlamaGuard:
    return LlamaGuard(base_url=URL, api_key=keys.KEY, max_retries=0)


def test_a_key_that_is_refused() -> None:
    guard = _guard()
    assert guard.check("Hello").safe


def test_a_wire_that_breaks() -> None:
    guard = _guard()
    with broken_wire("write", RuntimeError):
        asyncio.run(guard.acheck("Hello"))


def test_a_stream() -> None:
    model = langchain_things.ChatLlamaScout(base_url=URL, api_key=keys.KEY, max_retries=0)
    assert list(model.stream("Hello"))


def test_a_wrong_setting() -> None:
    core_things.WRONG["LlamaGuard, unknown host"]()


def test_what_is_planted() -> None:
    """The control: run alone, and then it has to be found."""
    key = keys.KEY
    logging.getLogger(__name__).debug("A key is %s characters long", len(key))
    raise AssertionError
