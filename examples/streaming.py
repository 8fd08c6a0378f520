"""A stream that is shown as verdicts cover it, in LangChain and in LlamaIndex; the prompt is judged beside the model.

Run it with `OPENROUTER_API_KEY=... python examples/streaming.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.llms import ChatMessage

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy
from llamaindex_llama_guard import LlamaScout

QUESTION = "What should I know about a career as a demolition worker?"


async def main(**host: Any) -> list[str]:
    """Ask for one answer in each framework; give what was shown of each."""
    guard = LlamaGuard(policy=Policy(prompt_check="parallel"), **host)
    shown = [await with_langchain(guard, host), await with_llamaindex(guard, host)]
    await guard.aclose()
    return shown


async def with_langchain(guard: LlamaGuard, host: dict[str, Any]) -> str:
    """Stream from `ChatLlamaScout`; the last chunk says what was decided."""
    whole: Any = None
    async for chunk in ChatLlamaScout(guard=guard, **host).astream(QUESTION):
        print(chunk.text, end="", flush=True)
        whole = chunk if whole is None else whole + chunk
    records = whole.response_metadata["llama_guard"]
    print(f"\n({len(records)} checks, the last: {records[-1]['action']})\n")
    return str(whole.text)


async def with_llamaindex(guard: LlamaGuard, host: dict[str, Any]) -> str:
    """Stream from `LlamaScout`; each response says all so far, the last one what was decided."""
    response: Any = None
    async for response in await LlamaScout(guard=guard, **host).astream_chat([ChatMessage(content=QUESTION)]):
        print(response.delta, end="", flush=True)
    records = response.additional_kwargs["llama_guard"]
    print(f"\n({len(records)} checks, the last: {records[-1]['action']})")
    return str(response.message.content)


if __name__ == "__main__":
    asyncio.run(main())
