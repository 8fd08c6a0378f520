"""After a safe verdict nothing is lost: the same pieces, the same events in the same tree of runs, usage once."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from with_langchain.attach_points import CHAINS, CHAT_MODELS, PROMPT, Scene
from with_langchain.foreign_model import USAGE, saying

from langchain_llama_guard import Policy, UnsafeContent, guarded

QUESTION = "What shall I do?"


class Recorder(BaseCallbackHandler):
    """The runs it is told of, as a tree: event, name and depth."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []
        self._runs: dict[Any, tuple[str, int]] = {None: ("", -1)}

    def start(self, kind: str, named: dict[str, Any]) -> None:
        depth = self._runs[named.get("parent_run_id")][1] + 1
        self._runs[named["run_id"]] = (named.get("name") or "", depth)
        self.events.append((f"{kind} start", named.get("name") or "", depth))

    def note(self, kind: str, named: dict[str, Any]) -> None:
        self.events.append((kind, *self._runs[named["run_id"]]))

    def on_chain_start(self, *_: Any, **named: Any) -> None:
        self.start("chain", named)

    def on_chat_model_start(self, *_: Any, **named: Any) -> None:
        self.start("model", named)

    def on_llm_new_token(self, token: Any, **named: Any) -> None:
        self.note(f"token {token}", named)

    def on_llm_end(self, *_: Any, **named: Any) -> None:
        self.note("model end", named)

    def on_chain_end(self, *_: Any, **named: Any) -> None:
        self.note("chain end", named)

    def without_the_guards_run(self) -> list[tuple[str, str, int]]:
        """What happened below the run of the guard itself."""
        return [(event, name, depth - 1) for event, name, depth in self.events if depth > 0]


SAFE = ("Mix ", "the dough", " well.")


def _consume(runnable: Runnable[Any, Any], value: Any, config: dict[str, Any], *, streamed: bool) -> list[Any]:
    return list(runnable.stream(value, config)) if streamed else [runnable.invoke(value, config)]


async def _aconsume(runnable: Runnable[Any, Any], value: Any, config: dict[str, Any], *, streamed: bool) -> list[Any]:
    if streamed:
        return [piece async for piece in runnable.astream(value, config)]
    return [await runnable.ainvoke(value, config)]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("consume", [_consume, _aconsume], ids=["sync", "async"])
async def test_after_a_safe_verdict_a_chain_gives_and_tells_all_that_it_would_without_guard(
    consume: Any, streamed: bool
) -> None:
    """The same pieces, and the same events in the same tree of runs, one level below the guard's own run."""
    told: list[list[Any]] = []
    given: list[Any] = []
    for is_guarded in (False, True):
        scene, recorder = Scene(says=SAFE), Recorder()
        chain = PROMPT | scene.foreign | StrOutputParser()
        consumed = consume(
            guarded(chain, scene.guard) if is_guarded else chain,
            {"question": QUESTION},
            {"callbacks": [recorder]},
            streamed=streamed,
        )
        given.append(await consumed if inspect.isawaitable(consumed) else consumed)
        told.append(recorder.without_the_guards_run() if is_guarded else recorder.events)
    assert given[0] == given[1]
    assert sorted(told[0]) == sorted(told[1])


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("consume", [_consume, _aconsume], ids=["sync", "async"])
async def test_after_a_safe_verdict_observers_inside_a_chain_are_told_of_their_own_runs(
    consume: Any, streamed: bool
) -> None:
    """A handler on the model hears of the model's run alone, one on a binding of all below it, each once."""
    told: list[Any] = []
    for is_guarded in (False, True):
        scene = Scene(says=SAFE)
        on_model, on_binding, ended = Recorder(), Recorder(), []
        model = scene.foreign.model_copy(update={"callbacks": [on_model]})
        on_model._runs, on_binding._runs = _AnyParent(), _AnyParent()
        inner = (PROMPT | model).with_config(callbacks=[on_binding]).with_listeners(on_end=ended.append)
        chain = RunnableLambda(lambda value: value) | inner | StrOutputParser()
        runnable = guarded(chain, scene.guard) if is_guarded else chain
        consumed = consume(runnable, {"question": QUESTION}, {}, streamed=streamed)
        await consumed if inspect.isawaitable(consumed) else None
        told.append((sorted(on_model.events), sorted(on_binding.events), [run.name for run in ended]))
    assert told[0] == told[1]
    assert told[0][0]
    assert told[0][2]


class _AnyParent(dict[Any, Any]):
    """Runs whose parents were not told of."""

    def __missing__(self, key: Any) -> tuple[str, int]:
        return ("", 0)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("consume", [_consume, _aconsume], ids=["sync", "async"])
@pytest.mark.parametrize(
    "name", ["guarded(foreign model)", "guarded(prompt | model | parser)", "guarded(guarded chain)"]
)
async def test_usage_is_counted_once(name: str, consume: Any, streamed: bool) -> None:
    scene = Scene(says=SAFE)
    scene.foreign.reply = [
        *saying(*SAFE)[:-1],
        saying()[0].model_copy(update={"response_metadata": {"model_name": "foreign-1"}}),
    ]
    runnable = {**CHAT_MODELS, **CHAINS}[name](scene)
    value = QUESTION if name in CHAT_MODELS else {"question": QUESTION}
    with get_usage_metadata_callback() as counted:
        consumed = consume(runnable, value, {}, streamed=streamed)
        await consumed if inspect.isawaitable(consumed) else None
    assert {"foreign-1": USAGE} == counted.usage_metadata


async def test_an_exception_that_quotes_nothing_unsafe_is_raised_as_it_was() -> None:
    scene = Scene(says=SAFE)
    error = KeyError("question")

    def fail(_: Any) -> Any:
        raise error

    chain = guarded(PROMPT | scene.foreign | fail, scene.guard)
    with pytest.raises(KeyError) as raised:
        chain.invoke({"question": QUESTION})
    assert error is raised.value
    with pytest.raises(KeyError) as raised:
        await chain.ainvoke({"question": QUESTION})
    assert error is raised.value


def test_what_is_raised_in_place_of_a_reply_quotes_nobody() -> None:
    scene = Scene(Policy(on_unsafe="raise"))
    with pytest.raises(UnsafeContent) as raised:
        guarded(PROMPT | scene.foreign | JsonOutputParser(), scene.guard).invoke({"question": QUESTION})
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
