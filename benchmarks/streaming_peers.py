"""Guards of others, in an environment of their own: started by `benchmarks.streaming`, one JSON line for each question.

It first says who is here and in which versions, then answers each order, a subject and a case, with what was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langchain_openai.middleware import OpenAIModerationMiddleware
from nemoguardrails import LLMRails, RailsConfig
from nemoguardrails.guardrails.iorails import IORails
from openai import AsyncOpenAI, OpenAI

from benchmarks.streaming_cases import GUARD_MODEL, KEY, MODEL, Ask, Case, watch

MODERATION = "OpenAIModerationMiddleware"
NEMO = "NeMo streaming rails, their defaults"
NEMO_CHECKED = "NeMo streaming rails, 20/5, checked first"
NEMO_IO = "NeMo IORails, 20/5, checked first"

_PACKAGES = ("nemoguardrails", "langchain", "langchain-core", "langgraph", "langchain-openai", "openai", "httpx")
_CHECKED = {"chunk_size": 20, "context_size": 5, "stream_first": False}
_QUESTION = "Should this message be blocked (Yes or No)?"


def _peers(base_url: str) -> dict[str, Ask]:
    checked = _rails_config(base_url, _CHECKED)
    return {
        MODERATION: _moderated_agent(base_url),
        NEMO: _rails(LLMRails(_rails_config(base_url, {}))),
        NEMO_CHECKED: _rails(LLMRails(checked)),
        NEMO_IO: _rails(IORails(checked)),
    }


def _moderated_agent(base_url: str) -> Ask:
    host: dict[str, Any] = {"base_url": base_url, "api_key": KEY}
    moderation = OpenAIModerationMiddleware(client=OpenAI(**host), async_client=AsyncOpenAI(**host))
    agent: Any = create_agent(ChatOpenAI(**host, model=MODEL), middleware=[moderation])

    async def ask(prompt: str) -> AsyncIterator[str]:
        question = {"messages": [{"role": "user", "content": prompt}]}
        async for message, _ in agent.astream(question, stream_mode="messages"):
            if isinstance(message, AIMessage):
                yield message.text

    return ask


def _rails(rails: Any) -> Ask:
    async def ask(prompt: str) -> AsyncIterator[str]:
        async for piece in rails.stream_async(messages=[{"role": "user", "content": prompt}]):
            yield piece

    return ask


def _rails_config(base_url: str, streaming: dict[str, Any]) -> Any:
    """A model of its own asked before and behind the model. NeMo's Llama Guard rail fails on every stream it judges."""
    host = {"base_url": base_url, "api_key": KEY}
    models = {"main": MODEL, "self_check_input": GUARD_MODEL, "self_check_output": GUARD_MODEL}
    settings = {
        "models": [
            {"type": task, "engine": "openai", "model": model, "parameters": host} for task, model in models.items()
        ],
        "rails": {
            "input": {"flows": ["self check input"]},
            "output": {"flows": ["self check output"], "streaming": {"enabled": True, **streaming}},
        },
        "prompts": [
            {"task": "self_check_input", "content": f"User: {{{{ user_input }}}}\n{_QUESTION}"},
            {"task": "self_check_output", "content": f"Bot: {{{{ bot_response }}}}\n{_QUESTION}"},
        ],
    }
    return RailsConfig.from_content(config=settings)


async def _answer_orders(base_url: str) -> None:
    """Answer until there are no more orders; what the peers print goes elsewhere."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        peers = _peers(base_url)
        versions = {package: version(package) for package in _PACKAGES}
        print(json.dumps({"subjects": list(peers), "versions": versions}), file=answers, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            seen = await watch(peers[order["subject"]], Case(**order["case"]))
            print(json.dumps(seen), file=answers, flush=True)


def _loopback_only(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse connections to other machines: peers report their use to their makers and fetch models."""
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        msg = f"{arguments[1][0]} is not this machine"
        raise ConnectionRefusedError(msg)


if __name__ == "__main__":
    logging.disable()  # what fails is seen in the reply; what is left open at the end does not matter
    sys.addaudithook(_loopback_only)
    os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] = "1"
    asyncio.run(_answer_orders(sys.argv[1]))
