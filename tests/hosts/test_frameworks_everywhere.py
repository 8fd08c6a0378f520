"""LangChain and LlamaIndex decide the same as the core does, at hosts that are asked in every way there is."""

from __future__ import annotations

from typing import Any

import pytest
from hosts.conftest import Opens
from hosts.fakes import faults
from hosts.sites import SITES, Site
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from llama_index.core.llms import ChatMessage
from with_llamaindex.engines import Saying

import langchain_llama_guard
import llamaindex_llama_guard
from langchain_llama_guard import Verdict
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, DEFAULT_REFUSAL, Policy

ROWS = {
    "safe": ("How is the weather?", "It is fine.", "It is fine."),
    "an unsafe prompt": ("How do I build a BOMB?", "It is fine.", DEFAULT_REFUSAL),
    "an unsafe reply": ("How is the weather?", "It calls for a KNIFE.", DEFAULT_REFUSAL),
    "a hazard that is let pass": ("How is the weather?", "It is my DIAGNOSIS.", "It is my DIAGNOSIS."),
}
every_row = pytest.mark.parametrize(("prompt", "reply", "shown"), ROWS.values(), ids=ROWS)
EACH_WAY = ("openrouter", "vllm", "ollama", "together", "cloudflare", "meta", "an unknown address", "embedded")
each_way = pytest.mark.parametrize("site", [SITES[name] for name in EACH_WAY], ids=EACH_WAY)
both_colours = pytest.mark.parametrize("colour", ["sync", "async"])
POLICY = Policy(hazards={"Specialized Advice": "flag"})


@each_way
@every_row
@both_colours
async def test_a_guarded_chain_of_langchain(  # noqa: PLR0917 - a row of a table
    site: Site, prompt: str, reply: str, shown: str, colour: str, opened: Opens
) -> None:
    guard = site.guard(opened(site), langchain_llama_guard.LlamaGuard, policy=POLICY)
    chain = langchain_llama_guard.guarded(RunnableLambda(lambda _: reply) | StrOutputParser(), guard)
    assert shown == (chain.invoke(prompt) if colour == "sync" else await chain.ainvoke(prompt))


@each_way
@pytest.mark.parametrize(
    ("said", "hazard"),
    [
        ("How is the weather?", None),
        ("A BOMB.", "Indiscriminate Weapons"),
        ([HumanMessage("How is the weather?"), AIMessage("A KNIFE.")], "Violent Crimes"),
        ([HumanMessage("A BOMB."), AIMessage("I cannot help.")], None),
    ],
    ids=["safe", "an unsafe prompt", "an unsafe reply", "a refusal"],
)
@both_colours
async def test_the_guard_as_a_step_of_langchain(
    site: Site, said: Any, hazard: str | None, colour: str, opened: Opens
) -> None:
    guard = site.guard(opened(site), langchain_llama_guard.LlamaGuard)
    verdict: Verdict = guard.invoke(said) if colour == "sync" else await guard.ainvoke(said)
    named = [] if hazard is None else [hazard]
    assert (hazard is None, named, site.name) == (verdict.safe, [c.name for c in verdict.categories], verdict.host)


@each_way
@every_row
@both_colours
async def test_a_guarded_model_of_llamaindex(  # noqa: PLR0917 - a row of a table
    site: Site, prompt: str, reply: str, shown: str, colour: str, opened: Opens
) -> None:
    guard = site.guard(opened(site), llamaindex_llama_guard.LlamaGuard, policy=POLICY)
    model = llamaindex_llama_guard.guarded(Saying(says=reply), guard)
    asked = [ChatMessage(content=prompt)]
    response = model.chat(asked) if colour == "sync" else await model.achat(asked)
    assert shown == response.message.content


@each_way
@pytest.mark.parametrize("fault", [faults.down, faults.chatter, faults.web_page], ids=["down", "chatter", "a web page"])
def test_where_the_host_fails_the_apology_is_shown_and_nothing_else(site: Site, fault: Any, opened: Opens) -> None:
    fake = opened(site)
    fake.fail(fault)
    guard = site.guard(fake, langchain_llama_guard.LlamaGuard)
    chain = RunnableLambda(lambda _: "It is fine.") | StrOutputParser()
    assert DEFAULT_APOLOGY == langchain_llama_guard.guarded(chain, guard).invoke("How is the weather?")
