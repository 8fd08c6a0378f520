"""A guard that is copied or sent to another process judges there as here, on connections of its own."""

from __future__ import annotations

import copy
import pickle

import pytest
from fake_provider import FakeProvider

from llama_guard_core import LlamaGuard, Policy


@pytest.mark.parametrize(
    "way",
    [copy.deepcopy, lambda guard: pickle.loads(pickle.dumps(guard))],  # noqa: S301 - our own bytes
    ids=["copy", "pickle"],
)
def test_a_copy_judges_under_the_same_policy_at_the_same_host(provider: FakeProvider, way: object) -> None:
    policy = Policy(hazards={"S6": "flag"})
    with provider.serve() as base_url, LlamaGuard(base_url=base_url, api_key="k", policy=policy) as guard:
        guard.check("one")
        with way(guard) as twin:  # type: ignore[operator]
            assert twin.check("a BOMB").categories[0].code == "S9"
            assert (repr(guard), policy) == (repr(twin), twin.policy)
        assert guard.check("another").safe


def test_a_client_of_the_users_does_not_travel(provider: FakeProvider) -> None:
    with provider.client() as client, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(LlamaGuard(api_key="k", http_client=client))
