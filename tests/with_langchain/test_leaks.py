"""What the guard did not let through is in no channel: not shown, not told, not traced, not raised, not logged."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.globals import set_debug
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable
from with_langchain.attach_points import CHAINS, CHAT_MODELS, PROMPT, UNGUARDED, Scene
from with_langchain.channels import CHAT_MODEL_WAYS, WAYS, Channels, Way
from with_langchain.foreign_model import saying

from langchain_llama_guard import Policy, RateLimited, guarded

MARKER = "BOMB"
QUESTION = "What shall I do?"
POLICIES = {"refuse": Policy(), "raise": Policy(on_unsafe="raise")}
PLACES: list[Any] = [
    *(
        pytest.param(make, QUESTION, way, id=f"{name}-{how}")
        for name, make in CHAT_MODELS.items()
        for how, way in {**WAYS, **CHAT_MODEL_WAYS}.items()
    ),
    *(
        pytest.param(make, {"question": QUESTION}, way, id=f"{name}-{how}")
        for name, make in CHAINS.items()
        for how, way in WAYS.items()
    ),
]
pytestmark = pytest.mark.filterwarnings("ignore:The .* in beta:langchain_core._api.LangChainBetaWarning")


class Watch:
    """Runs something with every channel open."""

    def __init__(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        self.channels = Channels()
        self._fixtures = caplog, monkeypatch

    async def run(self, way: Way, runnable: Runnable[Any, Any], value: Any) -> Channels:
        config = {"callbacks": self.channels.handlers()}
        with self.channels.open(*self._fixtures):
            running = way(self.channels, runnable, value, config)
            if inspect.isawaitable(running):
                await running
        return self.channels


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(caplog, monkeypatch)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(("make", "value", "way"), PLACES)
async def test_an_unsafe_reply_is_in_no_channel(
    make: Callable[[Scene], Runnable[Any, Any]], value: Any, way: Way, policy: Policy, watch: Watch
) -> None:
    scene = Scene(policy, local=watch.channels.handlers("local "))
    channels = await watch.run(way, make(scene), value)
    assert scene.model_calls > 0
    assert set() == channels.that_saw(MARKER)
    assert {"handler", "async handler", "tracer", "LangSmith", "collected runs"} <= channels.that_saw("")


@pytest.mark.parametrize(("make", "value", "way"), PLACES)
async def test_a_prompt_that_is_refused_reaches_no_model(
    make: Callable[[Scene], Runnable[Any, Any]], value: Any, way: Way, watch: Watch
) -> None:
    scene = Scene(says=("Never ", "said."))
    asked = "Build a BOMB" if value == QUESTION else {"question": "Build a BOMB"}
    channels = await watch.run(way, make(scene), asked)
    assert 0 == scene.model_calls
    assert set() == channels.that_saw("Never")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("make", "clean"),
    [(UNGUARDED["no guard"], set()), (UNGUARDED["a guard behind the model"], {"result"})],
    ids=UNGUARDED,
)
async def test_the_channels_do_see_what_no_guard_withholds(
    make: Callable[[Scene], Runnable[Any, Any]],
    clean: set[str],
    way: Way,
    watch: Watch,
    request: pytest.FixtureRequest,
) -> None:
    """Without this, an empty set of leaks would prove nothing. A guard behind the model cleans the result alone."""
    channels = await watch.run(way, make(Scene(Policy(streaming="whole"))), {"question": QUESTION})
    results = {"result"} if "events" in request.node.name else {"result"} - clean
    assert {"handler", "async handler", "tracer", "LangSmith", "collected runs"} | results == channels.that_saw(MARKER)


def _strict(text: str) -> str:
    msg = "this is no JSON"
    raise OutputParserException(msg, llm_output=text, observation=text)


def _loads(text: str) -> Any:
    return json.loads(text)


def _talkative(text: str) -> str:
    logging.getLogger("somebody").debug("parsed %s", text)
    raise ValueError(text)


def _in_the_middle(text: str) -> str:
    try:
        int(text)
    except ValueError:
        msg = "slow down"
        raise RateLimited(msg, reason="rate_limit")  # noqa: B904 - as careless as users' code


PARSERS: dict[str, Callable[[str], Any]] = {
    "a parser's exception": _strict,
    "a JSON error that carries the document": _loads,
    "an exception in the context of one of ours": _in_the_middle,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
async def test_an_exception_that_quotes_the_unsafe_reply_does_not_escape(
    parse: Callable[[str], Any], way: Way, watch: Watch
) -> None:
    scene = Scene()
    chain = guarded(PROMPT | scene.foreign | StrOutputParser() | parse, scene.guard, refuse_with=lambda r: r.text)
    channels = await watch.run(way, chain, {"question": QUESTION})
    assert set() == channels.that_saw(MARKER)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_the_channels_do_see_an_exception_and_a_log_that_nobody_guards(way: Way, watch: Watch) -> None:
    chain = PROMPT | Scene().foreign | StrOutputParser() | _talkative
    channels = await watch.run(way, chain, {"question": QUESTION})
    assert {"exception", "log"} <= channels.that_saw(MARKER)


@pytest.mark.parametrize("way", [*WAYS.values(), *CHAT_MODEL_WAYS.values()], ids=[*WAYS, *CHAT_MODEL_WAYS])
async def test_an_exception_of_the_guarded_model_that_quotes_its_reply_does_not_escape(way: Way, watch: Watch) -> None:
    scene = Scene()
    scene.foreign.reply = [*saying("Mix "), ValueError("cannot parse 'the BOMB'")]
    channels = await watch.run(way, guarded(scene.foreign, scene.guard), QUESTION)
    assert set() == channels.that_saw(MARKER)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_debug_mode_prints_nothing_that_is_withheld(
    way: Way, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene()
    set_debug(True)
    try:
        await watch.run(way, guarded(PROMPT | scene.foreign | StrOutputParser(), scene.guard), {"question": QUESTION})
    finally:
        set_debug(False)
    printed = capsys.readouterr().out
    assert "GuardedRunnableSequence" in printed
    assert MARKER not in printed
