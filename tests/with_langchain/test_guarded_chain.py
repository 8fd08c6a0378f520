"""`guarded(chain, guard)` behaves as the chain does, wherever LangChain may put it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_provider import Fault
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from with_langchain.attach_points import PROMPT, Scene
from with_langchain.foreign_model import saying
from with_langchain.ways import WAYS, Run

from langchain_llama_guard import GuardedRunnable, Policy, UnsafeContent, Verdict, guarded

SAFE = ("Mix ", "the dough", " well.")
TEXT = "".join(SAFE)
REFUSAL = "I can't help with that."
QUESTION = {"question": "What shall I do?"}


def _chain(scene: Scene, **keys: Any) -> Runnable[Any, Any]:
    return guarded(PROMPT | scene.foreign | StrOutputParser(), scene.guard, **keys)


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("says", "shown"), [(SAFE, TEXT), (("A ", "BOMB"), REFUSAL)], ids=["safe", "unsafe"])
async def test_it_is_a_step_like_any_other_in_the_middle_of_a_chain(says: Any, shown: str, run: Run) -> None:
    def ask(question: str) -> dict[str, str]:
        return {"question": question}

    async def shout(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        async for piece in pieces:
            yield piece.upper()

    chain = RunnableLambda(ask) | _chain(Scene(says=says)) | RunnableLambda(str.upper, name="shout")
    assert shown.upper() == await run(chain, "What shall I do?", {})
    if run in (WAYS["astream"], WAYS["ainvoke"]):
        assert shown.upper() == await run(RunnableLambda(ask) | _chain(Scene(says=says)) | shout, "What?", {})


async def test_a_batch_answers_each_of_its_questions_in_order() -> None:
    scene = Scene()
    scene.foreign.reply = lambda messages: saying(f"You said: {messages[-1].text}")
    questions = [{"question": text} for text in ("one", "a BOMB", "three")]
    expected = ["You said: one", REFUSAL, "You said: three"]
    assert expected == _chain(scene).batch(questions)
    assert expected == await _chain(scene).abatch(questions, {"max_concurrency": 2})
    assert dict(enumerate(expected)) == dict(_chain(scene).batch_as_completed(questions))


async def test_transform_waits_for_the_whole_input_and_judges_it_as_one() -> None:
    async def apieces() -> AsyncIterator[str]:
        for piece in ("a BO", "MB"):
            yield piece

    scene = Scene(says=SAFE)
    chain = guarded(scene.foreign | StrOutputParser(), scene.guard)
    assert [REFUSAL] == list(chain.transform(iter(["a BO", "MB"])))
    assert [REFUSAL] == [piece async for piece in chain.atransform(apieces())]
    assert 0 == scene.model_calls


async def test_input_pieces_that_do_not_add_up_are_snapshots_of_which_the_last_is_the_input() -> None:
    scene = Scene(says=SAFE)
    snapshots: list[Any] = [{"question": "What"}, {"question": "What shall I do?"}]
    assert TEXT == "".join(_chain(scene).transform(iter(snapshots)))
    assert "What shall I do?" == scene.foreign.seen[0][-1].text
    assert ["What shall I do?"] == [q.text for q in scene.provider.guard_questions if q.role == "user"]


async def test_pieces_stay_the_chains_own_and_come_once_a_verdict_covers_them() -> None:
    scene = Scene(Policy(streaming="whole"), says=SAFE)
    received: list[list[str]] = []
    scene.foreign.between = lambda number: received.append(list(shown))
    shown: list[str] = []
    for piece in _chain(scene).stream(QUESTION):
        shown.append(piece)  # noqa: PERF402 - the model looks at it meanwhile
    assert [[], [], [], []] == received
    assert [*SAFE, ""] == shown


@pytest.mark.parametrize("make", [_chain, lambda s: PROMPT | guarded(s.foreign, s.guard) | StrOutputParser()])
async def test_with_prompts_alone_judged_each_piece_is_shown_before_the_next_is_made(make: Any) -> None:
    """The model here finds at each piece that the consumer has all the earlier ones."""
    scene = Scene(Policy(stages={"prompt"}), says=("A ", "BOMB", "."), guard_settings={"cache": False})
    received: list[list[str]] = []
    scene.foreign.between = lambda number: received.append([piece for piece in shown if piece])
    shown: list[str] = []
    for piece in make(scene).stream(QUESTION):
        shown.append(piece)  # noqa: PERF402 - the model looks at it meanwhile
    assert [[], ["A "], ["A ", "BOMB"], ["A ", "BOMB", "."]] == received
    received.clear()
    shown.clear()
    async for piece in make(scene).astream(QUESTION):
        shown.append(piece)  # noqa: PERF401 - the model looks at it meanwhile
    assert [[], ["A "], ["A ", "BOMB"], ["A ", "BOMB", "."]] == received
    assert ["user", "user"] == [question.role for question in scene.provider.guard_questions]


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_the_config_reaches_the_chain_inside(run: Run) -> None:
    seen: list[RunnableConfig] = []

    def look(value: Any, config: RunnableConfig) -> str:
        seen.append(config)
        return "fine"

    config = {
        "tags": ["t"],
        "metadata": {"user": "u"},
        "configurable": {"thread_id": "1"},
        "max_concurrency": 3,
        "recursion_limit": 7,
    }
    assert "fine" == await run(guarded(RunnableLambda(look), Scene().guard), "Hi", config)
    assert {"t"} <= set(seen[0]["callbacks"].inheritable_tags)
    assert "u" == seen[0]["metadata"]["user"]
    assert {"thread_id": "1"}.items() <= seen[0]["configurable"].items()
    assert (3, 7) == (seen[0]["max_concurrency"], seen[0]["recursion_limit"])


class Order(BaseCallbackHandler):
    run_inline = True

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_chain_start(self, *_: Any, **named: Any) -> None:
        self.told.append(f"start {named['name']}")

    def on_chain_end(self, *_: Any, **named: Any) -> None:
        self.told.append("end")

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.told.append("model")

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.told.append("model end")

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        codes = [category["code"] for category in data["verdict"]["categories"]]
        self.told.append((name, data["stage"], data["action"], *codes))


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_the_run_is_told_first_then_what_was_decided_then_what_happened_inside(run: Run) -> None:
    order = Order()
    chain = guarded(RunnableLambda(lambda _: "Hello") | Scene(says=SAFE).foreign, Scene().guard)
    await run(chain.with_config(run_name="mine"), "Hi", {"callbacks": [order]})
    prompt, reply = ("llama_guard", "prompt", "allow"), ("llama_guard", "reply", "allow")
    inside = ["start RunnableSequence", "start RunnableLambda", "end", "model", "model end", "end"]
    assert ["start mine", prompt, reply, *inside, "end"] == order.told


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_of_a_refused_reply_only_the_decision_is_told(run: Run) -> None:
    order = Order()
    await run(_chain(Scene()), QUESTION, {"callbacks": [order]})
    decided = [("llama_guard", "prompt", "allow"), ("llama_guard", "reply", "refuse", "S9")]
    assert ["start GuardedRunnableSequence", *decided, "end"] == order.told


MONITOR = Policy(mode="monitor")
FLAG = Policy(hazards={"S9": "flag"})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("policy", "key"), [(MONITOR, "overruled"), (FLAG, "flagged")], ids=["monitor", "flag"])
async def test_what_a_policy_lets_pass_is_shown_and_the_decision_says_so(policy: Policy, key: str, run: Run) -> None:
    decided: list[Any] = []

    class Listener(BaseCallbackHandler):
        def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
            decided.append(data)

    shown = await run(_chain(Scene(policy)), QUESTION, {"callbacks": [Listener()]})
    assert "Mix the BOMB well." == shown
    assert [False, True] == [bool(record[key]) for record in decided]


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_each_stage_has_its_own_policy(run: Run) -> None:
    policy = Policy(
        per_stage={"prompt": {"on_unsafe": "raise"}, "reply": {"refusal": lambda v: f"No: {v.categories[0].code}"}}
    )
    assert "No: S9" == await run(_chain(Scene(policy)), QUESTION, {})
    with pytest.raises(UnsafeContent):
        await run(_chain(Scene(policy)), {"question": "a BOMB"}, {})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_an_exception_of_the_chain_that_cannot_be_judged_is_not_raised(run: Run) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    scene = Scene(says=("secret", " words"))
    scene.provider.fail(Fault.status(500), on="guard", nth=2)
    chain = guarded(
        PROMPT | scene.foreign | StrOutputParser() | fail, scene.guard, refuse_with=lambda refusal: refusal.text
    )
    assert "I can't answer right now" in await run(chain, QUESTION, {})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_retries_and_fallbacks_around_it_see_the_chains_own_exceptions(run: Run) -> None:
    attempts: list[str] = []

    def flaky(text: str) -> str:
        attempts.append(text)
        if len(attempts) < 2:
            raise ConnectionError
        return "there"

    guard = Scene().guard
    retried = guarded(RunnableLambda(flaky), guard).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    if run in (WAYS["invoke"], WAYS["ainvoke"]):  # LangChain retries no streams
        assert "there" == await run(retried, "Hi", {})
        attempts.clear()
    fallback = guarded(RunnableLambda(flaky), guard).with_fallbacks([RunnableLambda(lambda _: "elsewhere")])
    assert "elsewhere" == await run(fallback, "Hi", {})


@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
@pytest.mark.parametrize(
    ("is_inside", "kept"), [(True, []), (False, ["What?", REFUSAL])], ids=["a history inside", "a history around"]
)
@pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["ainvoke"]], ids=["sync", "async"])
async def test_a_history_keeps_no_refused_reply_and_every_other(is_inside: bool, kept: list[str], run: Run) -> None:
    """Inside, a refused turn leaves nothing; around, it leaves the question and the refusal."""
    prompt = ChatPromptTemplate.from_messages([("placeholder", "{history}"), ("user", "{question}")])
    scene, history = Scene(), InMemoryChatMessageHistory()

    def remembering(chain: Runnable[Any, Any]) -> Runnable[Any, Any]:
        return RunnableWithMessageHistory(
            chain,
            lambda: history,
            input_messages_key="question",
            history_messages_key="history",
            history_factory_config=[],
        )

    chain = prompt | scene.foreign
    whole = guarded(remembering(chain), scene.guard) if is_inside else remembering(guarded(chain, scene.guard))
    assert REFUSAL == await run(whole, {"question": "What?"}, {})
    assert kept == [message.text for message in history.messages]
    scene.foreign.reply = saying("Bread.")
    assert "Bread." == await run(whole, {"question": "And then?"}, {})
    assert [*kept, "And then?", "Bread."] == [message.text for message in history.messages]


async def test_a_guard_as_a_step_gives_its_verdict_to_the_chain() -> None:
    scene = Scene(says=SAFE)
    chain = RunnablePassthrough.assign(verdict=lambda v: v["question"]) | RunnablePassthrough.assign(
        verdict=(lambda v: v["question"]) | scene.guard
    )
    for given in (chain.invoke({"question": "a BOMB"}), await chain.ainvoke({"question": "a BOMB"})):
        verdict = given["verdict"]
        assert isinstance(verdict, Verdict)
        assert (False, ["S9"]) == (verdict.safe, [category.code for category in verdict.categories])


def test_guarded_takes_whatever_langchain_can_make_a_runnable_of() -> None:
    guard = Scene().guard
    assert isinstance(guarded(lambda text: text, guard), GuardedRunnable)
    assert {"a": "Hi"} == guarded({"a": lambda text: text}, guard).invoke("Hi")
    with pytest.raises(TypeError, match="a chat model takes and gives messages"):
        guarded(Scene().foreign, guard, input_key="question")
