"""Guards and what they guard are shared between threads and tasks, copied, and configured at run time."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField, Runnable
from with_langchain.attach_points import CHAINS, PROMPT, Scene
from with_langchain.foreign_model import saying

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy, guarded

REFUSAL = "I can't help with that."
_chain = CHAINS["guarded(prompt | model | parser)"]


def test_its_schemas_and_its_configurable_fields_are_the_chains() -> None:
    scene = Scene()
    model = scene.foreign.configurable_fields(alternatives=ConfigurableField(id="n"))
    chain = guarded(PROMPT | model | StrOutputParser(), scene.guard)
    assert ["n"] == [spec.id for spec in chain.config_specs]
    assert ["question"] == list(chain.get_input_jsonschema()["properties"])
    assert "string" == chain.get_output_jsonschema()["type"]


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),  # noqa: S301 - our own
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_guards_and_what_they_guard_can_be_copied_and_still_guard(
    copied: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-copied")  # a pickle takes no key along
    scene = Scene(Policy(hazards={"S6": "flag"}))
    with scene.provider.serve() as base_url:
        host = {"host": "openrouter", "base_url": base_url}
        guard = LlamaGuard(**host, policy=scene.policy)
        model = ChatLlamaScout(**host)
        for thing in (
            ChatLlamaScout(guard=guard, **host),
            guarded(model, guard),
            guarded(model | str, guard),
        ):
            assert REFUSAL in str(copied(thing).invoke("What shall I do?"))
        twin = copied(guard)
        assert guard.policy == twin.policy
        assert not twin.check("a BOMB").safe


def test_settings_chosen_at_run_time_leave_the_guard_in_place() -> None:
    scene = Scene()
    scout = ChatLlamaScout(guard=scene.guard, **scene.host)
    warm = scout.configurable_fields(temperature=ConfigurableField(id="warmth")).with_config(
        configurable={"warmth": 0.5}
    )
    assert REFUSAL == warm.invoke("What shall I do?").text
    assert 0.5 == scene.provider.requests_of("chat")[0].body["temperature"]
    alternatives = guarded(scene.foreign, scene.guard).configurable_alternatives(
        ConfigurableField(id="which"), scout=scout, chain=lambda: _chain(scene)
    )
    assert REFUSAL == alternatives.with_config(configurable={"which": "scout"}).invoke("What?").text
    assert REFUSAL == alternatives.invoke("What?").text


CALLERS = 50


def _echo() -> Runnable[Any, Any]:
    scene = Scene()
    scene.foreign.reply = lambda messages: saying("You said ", messages[-1].text)
    return _chain(scene)


def _asked(number: int) -> dict[str, str]:
    return {"question": f"Number {number} is {'a BOMB' if number % 3 == 0 else 'harmless'}"}


def _expected(number: int) -> str:
    return REFUSAL if number % 3 == 0 else f"You said {_asked(number)['question']}"


def test_in_many_threads_each_caller_gets_the_verdict_on_its_own_words() -> None:
    chain = _echo()
    with ThreadPoolExecutor(16) as threads:
        shown = list(threads.map(lambda number: "".join(chain.stream(_asked(number))), range(CALLERS)))
        told = list(threads.map(lambda number: chain.invoke(_asked(number)), range(CALLERS)))
    assert [_expected(number) for number in range(CALLERS)] == shown == told


async def test_in_many_tasks_each_caller_gets_the_verdict_on_its_own_words() -> None:
    chain = _echo()

    async def streamed(number: int) -> str:
        return "".join([piece async for piece in chain.astream(_asked(number))])

    shown = await asyncio.gather(*(streamed(number) for number in range(CALLERS)))
    told = await asyncio.gather(*(chain.ainvoke(_asked(number)) for number in range(CALLERS)))
    assert [_expected(number) for number in range(CALLERS)] == shown == told
