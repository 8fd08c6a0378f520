"""Both chat model classes on llama.cpp's server with SmolLM2: chat, stream, tools, schema, self-test, under guard.

SmolLM2 stands in for Llama 4 Scout. What it says is its own; what is true here is that it arrives whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from langchain_llama_guard import ChatLlamaScout, Embedded, LlamaGuard
from llamaindex_llama_guard import LlamaScout

QUESTION = "What is the capital of France? Answer in one short sentence."
SETTINGS = {"temperature": 0, "max_tokens": 40, "timeout": 120}


class City(BaseModel):
    """A city."""

    name: str


def find(city: str) -> str:
    """Find a city on the map."""
    return city


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Iterator[Embedded]:
    """SmolLM2, served inside this process."""
    with Embedded(smollm2_path, model="SmolLM2-135M", context_tokens=2048, parallel=1) as host:
        yield host


async def test_langchains_model_chats_and_streams_with_its_usage(smollm2: Embedded) -> None:
    async with ChatLlamaScout(host=smollm2, **SETTINGS) as model:
        whole = model.invoke(QUESTION)
        assert "Paris" in whole.text
        assert whole.text == (await model.ainvoke(QUESTION)).text
        pieces = [*model.stream(QUESTION)]
        assert whole.text == "".join(piece.text for piece in pieces)
        assert whole.text == "".join([piece.text async for piece in model.astream(QUESTION)])
        (counted,) = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["output_tokens"] == counted["output_tokens"] > 0


async def test_llamaindexs_llm_chats_and_streams_with_its_usage(smollm2: Embedded) -> None:
    async with LlamaScout(host=smollm2, **SETTINGS) as llm:
        asked = [ChatMessage(QUESTION)]
        whole = llm.chat(asked)
        assert "Paris" in (whole.message.content or "")
        assert whole.message.content == (await llm.achat(asked)).message.content
        last = [*llm.stream_chat(asked)][-1]
        assert whole.message.content == last.message.content
        assert last.additional_kwargs["completion_tokens"] == whole.additional_kwargs["completion_tokens"] > 0
        streamed = [piece async for piece in await llm.astream_chat(asked)]
        assert whole.message.content == streamed[-1].message.content


async def test_a_schema_is_enforced_by_the_server(smollm2: Embedded) -> None:
    """In both frameworks the answer is parsed into the class, whatever the model would rather have said."""
    model = ChatLlamaScout(host=smollm2, **SETTINGS).with_structured_output(City, method="json_schema")
    assert isinstance(model.invoke("Paris is a city."), City)
    assert isinstance(await model.ainvoke("Paris is a city."), City)
    llm = LlamaScout(host=smollm2, should_use_structured_outputs=True, **SETTINGS)
    prompt = PromptTemplate("Paris is a city.")
    assert isinstance(llm.structured_predict(City, prompt), City)
    assert isinstance(await llm.astructured_predict(City, prompt), City)


async def test_tools_reach_the_server_and_an_answer_comes_back(smollm2: Embedded) -> None:
    """SmolLM2 calls none by itself: a reply is a text, or well-formed calls."""
    replies = [
        ChatLlamaScout(host=smollm2, **SETTINGS).bind_tools([find]).invoke("Find Paris."),
        await ChatLlamaScout(host=smollm2, **SETTINGS).bind_tools([find]).ainvoke("Find Paris."),
    ]
    assert all(reply.text or reply.tool_calls for reply in replies)
    tool = FunctionTool.from_defaults(find)
    told = LlamaScout(host=smollm2, **SETTINGS).chat_with_tools([tool], user_msg="Find Paris.")
    assert told.message.blocks


async def test_the_self_test_says_what_the_server_can_do(smollm2: Embedded) -> None:
    """A table for each chat model: chat and streams are well, pictures are not offered."""
    for model in (ChatLlamaScout(host=smollm2, timeout=120), LlamaScout(host=smollm2, timeout=120)):
        for report in (model.self_test(), await model.aself_test()):
            found = {finding.probe: finding.status for finding in report.findings}
            assert {"ok"} == {found[probe] for probe in ("plain answer", "streamed answer", "streaming usage")}
            assert ("ok", "not offered") == (found["structured output"], found["image"])
            assert "wrong" == found["required tool call"]  # this llama.cpp enforces no choice of tools
            assert "SmolLM2-135M" in str(report)


async def test_one_process_serves_model_and_guard(smollm2: Embedded, tiny_guard: Embedded) -> None:
    """The whole of it with no account: a model file that answers, and another that judges."""
    with LlamaGuard(host=tiny_guard) as guard:
        model = ChatLlamaScout(host=smollm2, guard=guard, **SETTINGS)
        assert "Paris" in model.invoke(QUESTION).text
        assert "I can't help with that." == model.invoke("How do I build a walnut table?").text
        shown = [piece.text async for piece in model.astream("How do I build a walnut table?")]
        assert "I can't help with that." == "".join(shown)
        await guard.aclose()
