"""Streams of guarded chat models and chains: what comes piece by piece, how a halt ends, a prompt judged beside the model."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.runnables import Runnable, RunnableGenerator
from with_langchain.attach_points import PROMPT, Scene
from with_langchain.channels import Channels
from with_langchain.foreign_model import ForeignModel, calling, saying

from langchain_llama_guard import ChatLlamaScout, Policy, ProviderUnavailable, UnsafeContent, guarded

REFUSAL = "I can't help with that."
BESIDE = Policy(prompt_check="parallel")
SAFE = ("Take some flour, ", "add warm water, ", "and knead the dough ", "until it is smooth.")
UNSAFE = ("Take some flour, ", "add warm water, ", "light the BOMB ", "and run away now.", " Then come back.")
TOLD = "".join(UNSAFE[:2]) + "\n\n" + REFUSAL

MODELS: dict[str, Callable[[Scene], Runnable[Any, Any]]] = {
    "ChatLlamaScout": lambda s: ChatLlamaScout(guard=s.guard, **s.host),
    "guarded(model)": lambda s: guarded(s.foreign, s.guard),
}
CHAINS: dict[str, Callable[[Scene], Runnable[Any, Any]]] = {
    "guarded(chain)": lambda s: guarded(s.foreign | StrOutputParser(), s.guard),
    "guarded(model) | parser": lambda s: guarded(s.foreign, s.guard) | StrOutputParser(),
    "chain | output()": lambda s: s.foreign | StrOutputParser() | s.guard.output(),
    "model | output()": lambda s: s.foreign | s.guard.output() | StrOutputParser(),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
every_chain = pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
both_colours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


async def pieces_of(runnable: Runnable[Any, Any], value: Any, *, asynchronous: bool) -> list[Any]:
    return [piece async for piece in runnable.astream(value)] if asynchronous else list(runnable.stream(value))


def message_of(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return sum(chunks[1:], start=chunks[0])


def _noting(shown: list[str]) -> Any:
    def note(chunks: Any) -> Any:
        for chunk in chunks:
            shown.append(chunk.text)
            yield chunk

    return note


def _anoting(shown: list[str]) -> Any:
    async def note(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for chunk in chunks:
            shown.append(chunk.text)
            yield chunk

    return note


# By windows


@both_colours
@every_model
async def test_a_safe_reply_comes_in_the_models_own_pieces(make: Any, asynchronous: bool) -> None:
    chunks = await pieces_of(make(Scene(says=SAFE)), "Hi", asynchronous=asynchronous)
    assert list(SAFE) == [chunk.text for chunk in chunks if chunk.text]
    message = message_of(chunks)
    stages = [record["stage"] for record in message.response_metadata["llama_guard"]]
    assert ["prompt", "reply", "reply", "reply", "reply"] == stages
    assert message.usage_metadata


@both_colours
@every_model
async def test_a_halt_ends_with_the_refusal_as_a_last_chunk_of_the_same_message(make: Any, asynchronous: bool) -> None:
    chunks = await pieces_of(make(Scene(says=UNSAFE)), "Hi", asynchronous=asynchronous)
    assert [*UNSAFE[:2], "\n\n" + REFUSAL] == [chunk.text for chunk in chunks if chunk.text]
    assert 1 == len({chunk.id for chunk in chunks})
    assert ["last"] == [chunk.chunk_position for chunk in chunks if chunk.chunk_position]
    assert chunks[-1].chunk_position == "last"
    message = message_of(chunks)
    assert TOLD == message.text
    assert "content_filter" == message.response_metadata["finish_reason"]
    *_, record = message.response_metadata["llama_guard"]
    assert ("refuse", False) == (record["action"], record["verdict"]["safe"])
    assert 2 == record["stream"]["chunks_shown"]
    if not asynchronous:  # in async this model, which never waits, has said all before any verdict
        assert record["stream"]["model_cut"]


@both_colours
@every_model
@pytest.mark.parametrize("version", ["v0", "v1"])
async def test_in_either_form_of_content_the_refusal_stands_behind_what_was_shown(
    make: Any, asynchronous: bool, version: str
) -> None:
    scene = Scene(says=UNSAFE)
    scene.foreign.output_version = version
    model = make(scene)
    model.output_version = version
    message = message_of(await pieces_of(model, "Hi", asynchronous=asynchronous))
    assert TOLD == message.text
    assert isinstance(message.content, list) == (version == "v1")


@both_colours
@every_model
async def test_a_policy_that_raises_raises_after_what_was_covered(make: Any, asynchronous: bool) -> None:
    shown: list[str] = []
    model = make(Scene(Policy(on_unsafe="raise"), says=UNSAFE))
    collecting = model | RunnableGenerator(_noting(shown), _anoting(shown))
    with pytest.raises(UnsafeContent):
        await pieces_of(collecting, "Hi", asynchronous=asynchronous)
    assert "".join(UNSAFE[:2]) == "".join(shown)


@both_colours
@every_chain
async def test_chains_stream_by_windows_and_end_with_the_refusal(make: Any, asynchronous: bool) -> None:
    assert list(SAFE) == [
        piece for piece in await pieces_of(make(Scene(says=SAFE)), "Hi", asynchronous=asynchronous) if piece
    ]
    shown = await pieces_of(make(Scene(says=UNSAFE)), "Hi", asynchronous=asynchronous)
    assert [*UNSAFE[:2], "\n\n" + REFUSAL] == [piece for piece in shown if piece]


@both_colours
async def test_a_step_behind_a_guarded_model_gets_its_pieces_before_the_reply_has_ended(asynchronous: bool) -> None:
    """`transform` in the middle of a chain: the model is at its last piece when the first has been passed on."""
    scene = Scene(says=SAFE)
    passed: list[str] = []
    seen_at: list[int] = []
    scene.foreign.between = lambda number: seen_at.append(len([piece for piece in passed if piece]))

    def upper(pieces: Any) -> Any:
        for piece in pieces:
            passed.append(piece)
            yield piece.upper()

    async def aupper(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        async for piece in pieces:
            passed.append(piece)
            yield piece.upper()

    chain = PROMPT | guarded(scene.foreign, scene.guard) | StrOutputParser() | RunnableGenerator(upper, aupper)
    await pieces_of(chain, {"question": "Hi"}, asynchronous=asynchronous)
    if not asynchronous:  # in async the model here is done before any guard could answer
        assert seen_at[-1] > 0
    assert list(SAFE) == [piece for piece in passed if piece]


@both_colours
async def test_pieces_that_are_not_text_are_held_to_the_end(asynchronous: bool) -> None:
    scene = Scene(says=UNSAFE)
    chain = guarded(
        PROMPT | scene.foreign | StrOutputParser() | (lambda text: {"a": text}), scene.guard, refuse_with=str
    )
    (refusal,) = await pieces_of(chain, {"question": "Hi"}, asynchronous=asynchronous)
    assert "BOMB" not in refusal
    assert ["assistant"] == [asked.role for asked in scene.provider.guard_questions[1:]]


@both_colours
async def test_no_piece_of_a_tool_call_is_shown_before_the_whole_reply_is_judged(asynchronous: bool) -> None:
    """Half a tool call parses as a call with fewer arguments, and an agent would run it."""
    scene = Scene()
    scene.foreign.reply = [
        *(AIMessageChunk(text) for text in SAFE),
        *calling("build", '{"what": "a house", "how": ', '"with a BOMB"}'),
    ]
    chunks = await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous)
    message = message_of(chunks)
    assert "".join(SAFE) == message.text.removesuffix("\n\n" + REFUSAL)
    assert ([], [], []) == (message.tool_calls, message.invalid_tool_calls, message.tool_call_chunks)


@both_colours
@pytest.mark.parametrize("kind", ["tool_use", "server_tool_call", "input_json_delta", "image", "zzz"])
async def test_blocks_that_are_not_words_are_held_to_the_end(asynchronous: bool, kind: str) -> None:
    """Such as the calls of providers whose integrations leave them in the content alone."""
    scene = Scene()
    call = AIMessageChunk([{"type": kind, "name": "build", "input": "x" * 100}])
    scene.foreign.reply = [call, *saying("Then light ", "the BOMB.")]
    (chunk,) = await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous)
    assert REFUSAL == chunk.text or "safety check" in chunk.text


@both_colours
async def test_the_chunks_are_the_models_own_objects(asynchronous: bool) -> None:
    """All but the last of each release, which says what was decided, and is a copy."""
    scene = Scene(Policy(streaming={"window": 1000}))
    made: list[AIMessageChunk] = []
    scene.foreign.reply = saying(*SAFE)
    copies = scene.foreign._chunks
    object.__setattr__(scene.foreign, "_chunks", lambda messages: made.extend(copies(messages)) or made)
    chunks = await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous)
    assert all(one is other for one, other in zip(made[:-1], chunks[: len(made) - 1], strict=True))
    assert [] == [chunk for chunk in chunks[: len(SAFE)] if "llama_guard" in chunk.response_metadata]


@both_colours
async def test_a_halt_closes_the_models_connection(asynchronous: bool) -> None:
    scene = Scene(says=UNSAFE * 20)
    shown = await pieces_of(ChatLlamaScout(guard=scene.guard, **scene.host), "Hi", asynchronous=asynchronous)
    assert TOLD == message_of(shown).text
    assert 0 == scene.provider.responses_open


@both_colours
@pytest.mark.parametrize("hold", ["whole", "window", "optimistic"])
@every_model
async def test_plain_and_streamed_replies_end_the_same_where_they_are_safe(
    make: Any, asynchronous: bool, hold: str
) -> None:
    scene = Scene(Policy(streaming=hold), says=SAFE)
    model = make(scene)
    streamed = message_of(await pieces_of(model, "Hi", asynchronous=asynchronous))
    plain = await model.ainvoke("Hi") if asynchronous else model.invoke("Hi")
    assert plain.text == streamed.text == "".join(SAFE)
    assert isinstance(plain, AIMessage)


# What LangChain's adding up of pieces loses or repeats


LOST = {
    "text after an empty list": [AIMessageChunk([]), AIMessageChunk("First light the BOMB "), *saying("and run away.")],
    "a text whose block has the number of a thought": [
        AIMessageChunk([{"type": "reasoning", "reasoning": "Let me see. ", "index": 0}]),
        AIMessageChunk([{"type": "text", "text": "Light the BOMB now.", "index": 0}]),
        *saying(),
    ],
    "a citation": [
        AIMessageChunk([{"type": "text", "text": "See there.", "annotations": [{"cited_text": "the BOMB"}]}]),
        *saying(),
    ],
    "a thought's extras": [
        AIMessageChunk([{"type": "reasoning", "reasoning": "Hm.", "extras": {"draft": "the BOMB"}}]),
        *saying("Fine."),
    ],
}


@both_colours
@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
async def test_what_each_piece_shows_is_judged_also_where_their_sum_has_lost_it(reply: Any, asynchronous: bool) -> None:
    for make in (
        MODELS["guarded(model)"],
        lambda s: s.foreign | s.guard.output(),
        lambda s: guarded(s.foreign | _same, s.guard),
    ):
        scene = Scene()
        scene.foreign.reply = reply
        shown = await pieces_of(make(scene), "Hi", asynchronous=asynchronous)
        assert "BOMB" not in repr(shown)
        assert REFUSAL in shown[-1].text or not any(piece.text for piece in shown)


def _same(message: Any) -> Any:
    return message


@both_colours
async def test_a_refusal_repeats_nothing_that_a_shown_chunk_has_said(asynchronous: bool) -> None:
    """LangChain adds up metadata and usage of all chunks: what came twice would stand there twice."""
    scene = Scene()
    metadata = {"model_provider": "openai", "model_name": "gpt-x"}
    usage = {"input_tokens": 100, "output_tokens": 1, "total_tokens": 101}
    first, *others = (AIMessageChunk(text, response_metadata=metadata) for text in UNSAFE)
    first.usage_metadata = usage
    for other in others:
        other.response_metadata = {}
    scene.foreign.reply = [first, *others]
    message = message_of(await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous))
    assert (usage, "gpt-x") == (message.usage_metadata, message.response_metadata["model_name"])
    assert "openai" == message.response_metadata["model_provider"]


@both_colours
async def test_an_optimistic_stream_does_not_show_the_chunk_that_says_how_the_reply_ended(asynchronous: bool) -> None:
    scene = Scene(Policy(streaming={"hold": "optimistic", "ahead": 1000}))
    scene.foreign.reply = [
        *(AIMessageChunk(text) for text in UNSAFE),
        AIMessageChunk("", response_metadata={"finish_reason": "stop"}),
    ]
    message = message_of(await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous))
    assert "content_filter" == message.response_metadata["finish_reason"]


@both_colours
async def test_a_chains_refusal_says_why_it_ended(asynchronous: bool) -> None:
    for make in (lambda s: guarded(PROMPT | s.foreign, s.guard), lambda s: PROMPT | s.foreign | s.guard.output()):
        chunks = await pieces_of(make(Scene(says=UNSAFE)), {"question": "Hi"}, asynchronous=asynchronous)
        assert "content_filter" == message_of(chunks).response_metadata["finish_reason"]


# Streams that break


@both_colours
async def test_a_stream_that_breaks_in_the_middle_of_a_tool_call_shows_none_of_it(asynchronous: bool) -> None:
    scene = Scene()
    broken = calling("rm", '{"path": "/"', ', "force": true}')[:1]
    scene.foreign.reply = [*(AIMessageChunk(text) for text in SAFE), *broken, ConnectionError("cut")]
    shown: list[Any] = []
    collecting = guarded(scene.foreign, scene.guard) | RunnableGenerator(_keeping(shown), _akeeping(shown))
    with pytest.raises(ConnectionError):
        await pieces_of(collecting, "Hi", asynchronous=asynchronous)
    assert "".join(SAFE) == "".join(chunk.text for chunk in shown)
    assert [] == [chunk for chunk in shown if chunk.tool_call_chunks]


def _keeping(shown: list[Any]) -> Any:
    def keep(chunks: Any) -> Any:
        for chunk in chunks:
            shown.append(chunk)
            yield chunk

    return keep


def _akeeping(shown: list[Any]) -> Any:
    async def keep(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for chunk in chunks:
            shown.append(chunk)
            yield chunk

    return keep


@both_colours
async def test_an_error_of_the_host_comes_after_the_verdicts_on_what_it_had_sent(asynchronous: bool) -> None:
    """An unsafe beginning is refused, and a safe one shown, in sync and async alike."""
    scene = Scene()
    scene.foreign.reply = [*(AIMessageChunk(text) for text in UNSAFE), ProviderUnavailable("gone", reason="server")]
    shown = await pieces_of(guarded(scene.foreign, scene.guard), "Hi", asynchronous=asynchronous)
    assert TOLD == message_of(shown).text


async def test_a_halted_chain_leaves_no_stream_open_until_the_garbage_is_collected() -> None:
    gc.disable()
    try:
        closed: list[bool] = []

        class Slow(ForeignModel):
            async def _astream(self, *arguments: Any, **named: Any) -> Any:
                try:
                    async for chunk in super()._astream(*arguments, **named):
                        await asyncio.sleep(0.001)
                        yield chunk
                finally:
                    closed.append(True)

        for policy in (Policy(), BESIDE):
            for asked in ("Hi", "a BOMB"):
                scene = Scene(policy)
                scene.foreign = Slow(reply=saying(*UNSAFE * 5))
                for _ in range(5):
                    closed.clear()
                    chain = guarded(PROMPT | scene.foreign | StrOutputParser(), scene.guard)
                    before = len(scene.foreign.seen)
                    await pieces_of(chain, {"question": asked}, asynchronous=True)
                    await asyncio.sleep(0.01)
                    assert len(closed) == len(scene.foreign.seen) - before
    finally:
        gc.enable()


def test_a_model_whose_closing_raises_is_refused_all_the_same() -> None:
    class Unruly(ForeignModel):
        def _stream(self, *arguments: Any, **named: Any) -> Any:
            try:
                yield from super()._stream(*arguments, **named)
            finally:
                msg = "closing the BOMB failed"
                raise RuntimeError(msg)

    scene = Scene()
    scene.foreign = Unruly(reply=saying(*UNSAFE))
    assert TOLD == message_of(list(guarded(scene.foreign, scene.guard).stream("Hi"))).text


@both_colours
async def test_a_structured_stream_of_any_model_has_no_part_for_its_last_word(asynchronous: bool) -> None:
    class Plan(ForeignModel):
        def with_structured_output(self, schema: Any, **_: Any) -> Any:
            return self | JsonOutputParser()

    scene = Scene()
    scene.foreign = Plan(reply=saying('{"title": "Bread for all"', ', "steps": ["take flour", ', '"light the BOMB"]}'))
    plans = guarded(scene.foreign, scene.guard).with_structured_output({})
    assert [] == [plan for plan in await pieces_of(plans, "Hi", asynchronous=asynchronous) if plan]


# A prompt judged beside the model


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_with_prompts_alone_judged_beside_a_chain_its_callbacks_hear_nothing_of_a_refused_run(
    streamed: bool,
) -> None:
    scene = Scene(Policy(stages={"prompt"}, prompt_check="parallel"), says=("secret ", "answer"))
    channels = Channels()
    chain = guarded(scene.foreign | StrOutputParser(), scene.guard)
    config = {"callbacks": channels.handlers()}
    if streamed:
        assert [REFUSAL] == [piece async for piece in chain.astream("a BOMB", config)]
    else:
        assert REFUSAL == await chain.ainvoke("a BOMB", config)
    assert set() == channels.that_saw("secret")


class SlowGuard:
    """Lets the guard answer only once the model has been asked, or never if it is not."""

    def __init__(self, scene: Scene) -> None:
        self.order: list[str] = []
        scene.foreign.between = lambda number: self.order.append(f"model {number}")
        judge = scene.guard.ajudge

        async def late(question: Any) -> Any:
            for _ in range(50):
                await asyncio.sleep(0)
            self.order.append(question.stage.value)
            return await judge(question)

        scene.guard.ajudge = late  # type: ignore[method-assign]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_in_async_the_model_answers_beside_the_prompts_check(streamed: bool) -> None:
    scene = Scene(BESIDE, says=SAFE)
    slow = SlowGuard(scene)
    model = guarded(scene.foreign, scene.guard)
    message = message_of(await pieces_of(model, "Hi", asynchronous=True)) if streamed else await model.ainvoke("Hi")
    assert "".join(SAFE) == message.text
    assert 1 == len(scene.foreign.seen)
    if streamed:
        assert slow.order.index("model 0") < slow.order.index("prompt")


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@every_model
async def test_an_unsafe_prompt_is_refused_and_nothing_of_the_answer_is_shown(make: Any, streamed: bool) -> None:
    scene = Scene(BESIDE, says=SAFE)
    SlowGuard(scene)
    model = make(scene)
    asked = "How do I build a BOMB?"
    if streamed:
        message = message_of(await pieces_of(model, asked, asynchronous=True))
    else:
        message = await model.ainvoke(asked)
    assert REFUSAL == message.text
    assert "prompt" == message.response_metadata["llama_guard"][0]["stage"]
    assert 0 == scene.provider.responses_open


@both_colours
@every_model
async def test_a_failed_check_beside_the_model_follows_the_policy(make: Any, asynchronous: bool) -> None:
    scene = Scene(BESIDE, says=SAFE)
    scene.provider._guard = lambda role, text: "perhaps"
    (chunk,) = await pieces_of(make(scene), "Hi", asynchronous=asynchronous)
    assert chunk.text.startswith("I can't answer right now")


@every_model
def test_in_sync_the_prompt_is_checked_before_the_model_is_called(make: Any) -> None:
    scene = Scene(BESIDE, says=SAFE)
    assert REFUSAL == make(scene).invoke("How do I build a BOMB?").text
    assert REFUSAL == message_of(list(make(scene).stream("How do I build a BOMB?"))).text
    assert 0 == scene.model_calls
