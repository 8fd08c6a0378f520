"""The keys of all hosts, and a fake one that must have nothing to complain of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hosts.fakes import FakeHost, Network
from hosts.sites import KEYS, Site
from hosts.three_hosts import Three

Opens = Callable[[Site], FakeHost]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, key in KEYS.items():
        monkeypatch.setenv(variable, key)


@pytest.fixture
def opened() -> Iterator[Opens]:
    """Makes the fake host of a site; at the end, nothing it was sent may have broken a rule or been left out in silence."""
    fakes: list[FakeHost] = []

    def open_one(site: Site) -> FakeHost:
        fakes.append(site.make())
        return fakes[-1]

    yield open_one
    assert [] == [problem for fake in fakes for problem in (*fake.violations, *fake.left_out)]


@pytest.fixture
def three() -> Iterator[Three]:
    """vLLM, then Together, then OpenRouter."""
    hosts = Three()
    yield hosts
    assert [] == Network(*hosts.hosts, *hosts.others).complaints()
