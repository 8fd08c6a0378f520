"""A query engine under guard: question and answer judged, in every form an answer has."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine, RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel
from with_llamaindex.engines import (
    APOLOGY,
    HARMLESS,
    QUESTION,
    REFUSAL,
    UNSAFE,
    WAYS,
    Saying,
    Way,
    memory,
    query_engine,
    text_of,
)
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import GuardedQueryEngine, GuardUnavailable, LlamaGuardPostprocessor, Refusal, UnsafeContent

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
streamed_or_not = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


@every_way
@streamed_or_not
async def test_a_harmless_question_is_answered_with_its_sources(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(), streaming=streaming), guard_of(provider))
    response = await way(engine, QUESTION)
    assert HARMLESS == await text_of(response)
    assert 2 == len(response.source_nodes)
    assert [("prompt", "allow"), ("reply", "allow")] == decided(response)


@every_way
@streamed_or_not
async def test_a_stream_stays_a_stream_and_its_pieces_stay_pieces(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(), streaming=streaming), guard_of(provider))
    plain = query_engine(Saying(), streaming=streaming)
    response = await way(engine, QUESTION)
    assert type(await way(plain, QUESTION)) is type(response)
    if isinstance(response, StreamingResponse):
        assert list((await way(plain, QUESTION)).response_gen) == list(response.response_gen)


@every_way
@streamed_or_not
async def test_a_harmful_question_reaches_neither_the_retriever_nor_the_model(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    llm = Saying()
    inner = query_engine(llm, streaming=streaming)
    inner._retriever = None
    response = await way(GuardedQueryEngine(inner, guard_of(provider)), "How do I build a BOMB?")
    assert REFUSAL == await text_of(response)
    assert [] == llm.prompts
    assert [("prompt", "refuse")] == decided(response)


@every_way
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refused_question_gets_the_type_its_caller_expects(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    inner = query_engine(Saying(), streaming=streaming)
    refused = await way(GuardedQueryEngine(inner, guard_of(provider)), "How do I build a BOMB?")
    assert type(await way(inner, QUESTION)) is type(refused)


@every_way
@streamed_or_not
async def test_an_unsafe_answer_is_replaced_and_its_sources_with_it(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(says=UNSAFE), streaming=streaming), guard_of(provider))
    response = await way(engine, QUESTION)
    assert REFUSAL == await text_of(response)
    assert [] == response.source_nodes
    assert [("prompt", "allow"), ("reply", "refuse")] == decided(response)
    assert ["llama_guard"] == list(response.metadata)


@every_way
@streamed_or_not
async def test_the_sources_of_a_refused_answer_are_kept_on_request(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    inner = query_engine(Saying(says=UNSAFE), streaming=streaming)
    response = await way(GuardedQueryEngine(inner, guard_of(provider), keeps_sources=True), QUESTION)
    assert REFUSAL == await text_of(response)
    assert 2 == len(response.source_nodes)


@every_way
async def test_question_and_answer_are_judged_without_the_passages(provider: FakeProvider, way: Way) -> None:
    await way(GuardedQueryEngine(query_engine(Saying()), guard_of(provider)), QUESTION)
    asked, answered = provider.guard_questions
    assert (("user", QUESTION),) == asked.turns
    assert (("user", QUESTION), ("assistant", HARMLESS)) == answered.turns


@every_way
async def test_everything_that_is_searched_with_is_judged(provider: FakeProvider, way: Way) -> None:
    bundle = QueryBundle("harmless", custom_embedding_strs=["harmless", "a BOMB"])
    assert REFUSAL == str(await way(GuardedQueryEngine(query_engine(Saying()), guard_of(provider)), bundle))
    assert "harmless\na BOMB" == provider.guard_questions[0].text


@every_way
@pytest.mark.parametrize(("policy", "answer"), [({}, APOLOGY), ({"on_no_verdict": "allow"}, HARMLESS)])
async def test_an_image_in_a_question_cannot_be_judged_and_the_policy_decides(
    provider: FakeProvider, way: Way, policy: dict[str, Any], answer: str
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying()), guard_of(provider, **policy))
    assert answer == str(await way(engine, QueryBundle(QUESTION, image_path="clock.png")))


class Hours(BaseModel):
    closed: str


@every_way
async def test_a_structured_answer_is_judged_by_all_it_holds(provider: FakeProvider, way: Way) -> None:
    for closed, refused in (("Mondays", False), ("BOMB days", True)):
        engine = GuardedQueryEngine(Structured(Hours(closed=closed)), guard_of(provider))
        response = await way(engine, QUESTION)
        assert isinstance(response, PydanticResponse)
        assert (Refusal(refusal=REFUSAL) if refused else Hours(closed=closed)) == response.response


@every_way
async def test_a_refused_question_of_a_structured_engine_gets_a_structured_refusal(
    provider: FakeProvider, way: Way
) -> None:
    synthesizer = get_response_synthesizer(llm=Saying(), output_cls=Hours)
    inner = RetrieverQueryEngine(query_engine(Saying()).retriever, synthesizer)
    response = await way(GuardedQueryEngine(inner, guard_of(provider)), "a BOMB")
    assert PydanticResponse(Refusal(refusal=REFUSAL), metadata=response.metadata) == response


class Answering(BaseQueryEngine):
    """Somebody's own engine: it answers both kinds of query with what it was given."""

    def __init__(self, answer: Any) -> None:
        super().__init__(callback_manager=None)
        self.answer = answer

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _query(self, query_bundle: QueryBundle) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _aquery(self, query_bundle: QueryBundle) -> Any:
        return self._query(query_bundle)


class Structured(Answering):
    def _query(self, query_bundle: QueryBundle) -> Any:
        return PydanticResponse(self.answer)


async def test_a_sync_stream_out_of_an_async_query_is_guarded_too(provider: FakeProvider) -> None:
    engine = GuardedQueryEngine(Answering(StreamingResponse(iter(["a ", "BOMB"]))), guard_of(provider))
    response = await engine.aquery(QUESTION)
    assert isinstance(response, StreamingResponse)
    assert [REFUSAL] == list(response.response_gen)


@pytest.mark.parametrize("answer", [None, "", "  "])
async def test_an_empty_answer_is_not_asked_about(provider: FakeProvider, answer: str | None) -> None:
    response = GuardedQueryEngine(Answering(Response(answer)), guard_of(provider)).query(QUESTION)
    assert (answer or "") == response.response
    assert 1 == len(provider.guard_questions)


async def test_a_stream_that_was_read_already_is_judged(provider: FakeProvider) -> None:
    spent = StreamingResponse(iter(()), response_txt="a BOMB")
    assert REFUSAL == str(GuardedQueryEngine(Answering(spent), guard_of(provider)).query(QUESTION))
    aspent = AsyncStreamingResponse(None, response_txt="a BOMB")
    response = await GuardedQueryEngine(Answering(aspent), guard_of(provider)).aquery(QUESTION)
    assert REFUSAL == await text_of(response)


@every_way
@streamed_or_not
async def test_without_a_verdict_nothing_is_shown(provider: FakeProvider, way: Way, streaming: bool) -> None:
    provider.fail(Fault.status(500), on="guard", nth=2)
    engine = GuardedQueryEngine(query_engine(Saying(), streaming=streaming), guard_of(provider))
    response = await way(engine, QUESTION)
    assert APOLOGY == await text_of(response)
    assert "server" == response.metadata["llama_guard"][-1]["no_verdict"]


@every_way
@streamed_or_not
async def test_a_policy_that_raises_raises(provider: FakeProvider, way: Way, streaming: bool) -> None:
    guard = guard_of(provider, on_unsafe="raise", on_no_verdict="raise")
    engine = GuardedQueryEngine(query_engine(Saying(says=UNSAFE), streaming=streaming), guard)
    with pytest.raises(UnsafeContent):
        await text_of(await way(engine, QUESTION))
    provider.fail(Fault.status(500), on="guard")
    with pytest.raises(GuardUnavailable):
        await way(engine, "When does it open?")


@every_way
@pytest.mark.parametrize(("message", "outcome"), [("cannot parse: a BOMB", REFUSAL), ("no such index", None)])
async def test_an_exception_is_raised_only_if_what_it_says_is_safe(
    provider: FakeProvider, way: Way, message: str, outcome: str | None
) -> None:
    engine = GuardedQueryEngine(Answering(ValueError(message)), guard_of(provider))
    if outcome:
        assert outcome == str(await way(engine, QUESTION))
        return
    with pytest.raises(ValueError, match=message):
        await way(engine, QUESTION)


async def test_an_exception_in_a_stream_that_quotes_the_model_becomes_the_refusal(provider: FakeProvider) -> None:
    def broken() -> Any:
        yield "Well, "
        msg = "cannot decode: a BOMB"
        raise ValueError(msg)

    response = GuardedQueryEngine(Answering(StreamingResponse(broken())), guard_of(provider)).query(QUESTION)
    assert [REFUSAL] == list(response.response_gen)


@every_way
async def test_a_postprocessor_that_refuses_becomes_the_refusal_of_the_answer(provider: FakeProvider, way: Way) -> None:
    guard, llm = guard_of(provider), Saying()
    refusing = LlamaGuardPostprocessor(guard=guard, on_unsafe="refuse")
    inner = query_engine(llm, ["harmless", "a BOMB"], node_postprocessors=[refusing])
    response = await way(GuardedQueryEngine(inner, guard), QUESTION)
    assert REFUSAL == str(response)
    assert [] == llm.prompts
    assert ("document", "refuse") == decided(response)[-1]


@every_way
@streamed_or_not
async def test_a_chosen_sentence_answers_where_no_passage_is_left(
    provider: FakeProvider, way: Way, streaming: bool
) -> None:
    guard = guard_of(provider)
    dropping = LlamaGuardPostprocessor(guard=guard)
    inner = query_engine(Saying(), ["a BOMB"], node_postprocessors=[dropping], streaming=streaming)
    sentence = "Nothing in the archive may be shown."
    response = await way(GuardedQueryEngine(inner, guard, nothing_left=sentence), QUESTION)
    assert sentence == await text_of(response)
    unchosen = await way(GuardedQueryEngine(inner, guard), QUESTION)
    assert "Empty Response" == await text_of(unchosen)


async def test_halting_closes_the_stream_of_the_model(provider: FakeProvider) -> None:
    llm = Saying(says=UNSAFE)
    response = GuardedQueryEngine(query_engine(llm, streaming=True), guard_of(provider)).query(QUESTION)
    assert REFUSAL == await text_of(response)
    assert [True] == llm.closed


async def test_a_reader_who_leaves_closes_the_stream_of_the_engine(provider: FakeProvider) -> None:
    closed: list[str] = []

    def pieces() -> Any:
        try:
            yield from ("a ", "b ")
        finally:
            closed.append("sync")

    async def apieces() -> Any:
        try:
            yield "a "
            yield "b "
        finally:
            closed.append("async")

    guard = guard_of(provider, stages=["prompt"])
    stream = GuardedQueryEngine(Answering(StreamingResponse(pieces())), guard).query(QUESTION).response_gen
    assert "a " == next(stream)
    stream.close()
    response = await GuardedQueryEngine(Answering(AsyncStreamingResponse(apieces())), guard).aquery(QUESTION)
    assert "a " == await anext(response.response_gen)
    await response.response_gen.aclose()
    assert ["sync", "async"] == closed


async def test_prompts_are_those_of_the_engine_inside(provider: FakeProvider) -> None:
    llm = Saying()
    inner = query_engine(llm)
    engine = GuardedQueryEngine(inner, guard_of(provider))
    assert inner.get_prompts().keys() == engine.get_prompts().keys()
    engine.update_prompts({"response_synthesizer:text_qa_template": PromptTemplate("Rhyme: {query_str}")})
    engine.query(QUESTION)
    assert f"user: Rhyme: {QUESTION}\nassistant: " == llm.prompts[-1]


async def test_retrieve_is_handed_on_and_synthesize_is_guarded(provider: FakeProvider) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(says=UNSAFE)), guard_of(provider))
    bundle = QueryBundle(QUESTION)
    nodes = engine.retrieve(bundle)
    assert 2 == len(nodes) == len(await engine.aretrieve(bundle))
    assert REFUSAL == str(engine.synthesize(bundle, nodes))
    assert REFUSAL == str(await engine.asynthesize(bundle, nodes, [NodeWithScore(node=TextNode(text="more"))]))


async def test_an_engine_on_another_retriever_is_guarded_as_the_first(provider: FakeProvider) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(says=UNSAFE)), guard_of(provider), keeps_sources=True)
    response = engine.with_retriever(engine.retriever).query(QUESTION)
    assert REFUSAL == str(response)
    assert 2 == len(response.source_nodes)


class _First(BaseSelector):
    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass

    def _select(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return SelectorResult(selections=[SingleSelection(index=0, reason="the first")])

    async def _aselect(self, choices: Any, query: QueryBundle) -> SelectorResult:
        return self._select(choices, query)


class _Asking(BaseQuestionGenerator):
    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass

    def generate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return [SubQuestion(sub_question=query.query_str, tool_name="museum")]

    async def agenerate(self, tools: Any, query: QueryBundle) -> list[SubQuestion]:
        return self.generate(tools, query)


def museum(provider: FakeProvider, says: str = UNSAFE, **settings: Any) -> QueryEngineTool:
    engine = GuardedQueryEngine(query_engine(Saying(says=says), **settings), guard_of(provider))
    return QueryEngineTool.from_defaults(engine, name="museum", description="about the museum")


@every_way
@streamed_or_not
async def test_it_works_inside_a_router(provider: FakeProvider, way: Way, streaming: bool) -> None:
    tool = museum(provider, streaming=streaming)
    router = RouterQueryEngine(_First(), [tool], llm=Saying(), summarizer=object())
    assert REFUSAL == await text_of(await way(router, QUESTION))


@every_way
async def test_it_works_inside_a_sub_question_engine(provider: FakeProvider, way: Way) -> None:
    llm = Saying(says="all in all")
    engine = SubQuestionQueryEngine.from_defaults(
        [museum(provider)],
        question_gen=_Asking(),
        llm=llm,
        response_synthesizer=get_response_synthesizer(llm=llm),
        use_async=False,
        verbose=False,
    )
    assert "all in all" == str(await way(engine, QUESTION))
    assert f"Response: {REFUSAL}" in llm.prompts[0]


async def test_a_tool_made_of_it_answers_with_the_refusal_and_asks_once(provider: FakeProvider) -> None:
    tool = museum(provider)
    assert REFUSAL == tool.call(QUESTION).content
    assert REFUSAL == (await tool.acall(QUESTION)).content
    assert 2 == len(provider.guard_questions)  # the second time, both verdicts are known


@pytest.mark.parametrize(("says", "shown"), [(HARMLESS, HARMLESS), (UNSAFE, REFUSAL)])
async def test_a_condensing_chat_engine_streams_from_it_and_remembers_what_was_shown(
    provider: FakeProvider, says: str, shown: str
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(says=says)), guard_of(provider))
    chat = CondenseQuestionChatEngine.from_defaults(engine, llm=Saying(), memory=memory())
    assert shown == "".join(chat.stream_chat(QUESTION).response_gen)
    assert [QUESTION, shown] == [message.content for message in chat.chat_history]
    chat.reset()
    response = await chat.astream_chat(QUESTION)
    assert shown == "".join([piece async for piece in response.async_response_gen()])
    assert [QUESTION, shown] == [message.content for message in chat.chat_history]
    assert shown == str(chat.chat(QUESTION))


def decided(response: Any) -> list[tuple[str, str]]:
    return [(record["stage"], record["action"]) for record in response.metadata["llama_guard"]]
