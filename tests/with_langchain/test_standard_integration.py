"""LangChain's own integration tests, on a strict fake host behind a real socket.

For Scout alone, Scout guarded from inside, and Scout wrapped by `GuardedChatModel`; each with an event loop per test
and with one for all of them; each with a stream's usage in all four places.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from with_langchain.standard_flags import ServedScout, WrappedScout


@pytest.mark.default_cassette("scout.yaml")
class TestScoutInManyLoops(ServedScout, ChatModelIntegrationTests):
    pass


@pytest.mark.default_cassette("scout.yaml")
class TestScoutInOneLoop(ServedScout, ChatModelIntegrationTests):
    one_event_loop = True


@pytest.mark.default_cassette("guarded.yaml")
class TestGuardedScoutInManyLoops(ServedScout, ChatModelIntegrationTests):
    is_guarded = True


@pytest.mark.default_cassette("guarded.yaml")
class TestGuardedScoutInOneLoop(ServedScout, ChatModelIntegrationTests):
    one_event_loop = True
    is_guarded = True


@pytest.mark.default_cassette("guarded.yaml")
class TestWrappedScoutInManyLoops(ServedScout, ChatModelIntegrationTests):
    is_guarded = True
    chat_model_class: ClassVar[type[BaseChatModel]] = WrappedScout


@pytest.mark.default_cassette("guarded.yaml")
class TestWrappedScoutInOneLoop(ServedScout, ChatModelIntegrationTests):
    one_event_loop = True
    is_guarded = True
    chat_model_class: ClassVar[type[BaseChatModel]] = WrappedScout
