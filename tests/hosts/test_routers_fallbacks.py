"""Nothing turns a guard's call into a chat model's: neither fallbacks, nor what a router makes of a call."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import FakeProvider
from hosts.conftest import Opens
from hosts.fakes import OpenRouter, faults
from hosts.sites import SITES, Site, every_site
from hosts.three_hosts import Three, both_colours, check

from langchain_llama_guard import ChatLlamaScout
from langchain_llama_guard import LlamaGuard as LangChainGuard
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError, UnreadableVerdict
from llama_guard_core.provider.routing import ProviderRouting
from llamaindex_llama_guard import LlamaScout

GUARD_4, GUARD_3 = "meta-llama/llama-guard-4-12b", "meta-llama/llama-guard-3-8b"
AT_OPENROUTER = SITES["openrouter"]

CHAT_MODELS = [
    "meta-llama/llama-4-scout",
    "openai/gpt-4o-mini",
    "openai/gpt-oss-safeguard-20b",
    "openrouter/auto",
    "guard",
]
OTHER_GUARDS = [
    "meta-llama/llama-guard-2-8b",
    "meta-llama/LlamaGuard-7b",
    "meta-llama/llama-prompt-guard-2-86m",
    "qwen/qwen3-guard-4b",
]
KIN = [GUARD_3, "meta-llama/llama-guard-3-1b", "meta-llama/llama-guard-3-11b-vision", f"{GUARD_3}:free"]
SPELLINGS = [GUARD_4, "meta-llama/Llama-Guard-4-12B", f"{GUARD_4}:free", f"{GUARD_4}-20250430", GUARD_3]


@pytest.mark.parametrize("model", [*CHAT_MODELS, *OTHER_GUARDS])
@pytest.mark.parametrize("guard", [LlamaGuard, LangChainGuard], ids=["core", "langchain"])
def test_what_is_no_guard_with_the_same_codes_is_refused_as_a_fallback(guard: type[LlamaGuard], model: str) -> None:
    with pytest.raises(ConfigurationError, match="fallback_models: ") as caught:
        guard(fallback_models=[GUARD_3, model])
    assert repr(model) in str(caught.value)


@pytest.mark.parametrize("model", KIN)
def test_another_guard_with_the_same_codes_is_asked_for_beside_the_first(model: str, opened: Opens) -> None:
    fake = opened(AT_OPENROUTER)
    AT_OPENROUTER.guard(fake, fallback_models=[model]).check("A BOMB.")
    (body,) = fake.bodies
    assert (GUARD_4, [GUARD_4, model]) == (body["model"], body["models"])


def test_without_fallbacks_no_other_model_is_named(opened: Opens) -> None:
    fake = opened(AT_OPENROUTER)
    AT_OPENROUTER.guard(fake).check("A BOMB.")
    assert "models" not in fake.bodies[0]


@pytest.mark.parametrize("answered", [*CHAT_MODELS, *OTHER_GUARDS])
@both_colours
async def test_an_answer_of_another_model_is_no_verdict_even_if_it_says_safe(
    answered: str, colour: str, opened: Opens
) -> None:
    fake = opened(AT_OPENROUTER)
    assert isinstance(fake, OpenRouter)
    fake.answers_as = answered
    guard = AT_OPENROUTER.guard(fake, fallback_models=[GUARD_3])
    with pytest.raises(UnreadableVerdict, match="OpenRouter had another model answer"):
        await check(guard, "How is the weather?", colour)
    fake.answers_as = None
    assert not (await check(guard, "How is the weather?", colour)).cached


@pytest.mark.parametrize("answered", SPELLINGS)
def test_an_answer_of_kin_and_under_another_spelling_is_one(answered: str, opened: Opens) -> None:
    fake = opened(AT_OPENROUTER)
    assert isinstance(fake, OpenRouter)
    fake.answers_as = answered
    verdict = AT_OPENROUTER.guard(fake, fallback_models=[GUARD_3]).check("A BOMB.")
    assert (False, ["S9"], answered) == (verdict.safe, [c.code for c in verdict.categories], verdict.model)


@both_colours
async def test_in_a_list_of_hosts_such_an_answer_does_not_move_on(three: Three, colour: str) -> None:
    three.third.answers_as = "openai/gpt-4o-mini"
    three.first.fail(faults.down)
    with pytest.raises(UnreadableVerdict, match="OpenRouter had another model answer"):
        await check(three.guard("vllm", "openrouter", "together"), "A BOMB.", colour)
    assert [1, 0, 1] == three.calls


def test_in_a_list_of_hosts_fallbacks_and_variants_are_openrouters_alone(three: Three) -> None:
    guard = three.guard("vllm", "openrouter", fallback_models=[GUARD_3], variant="nitro")
    three.first.fail(faults.down, first=1)
    guard.check("A BOMB.")
    assert ("meta-llama/Llama-Guard-4-12B", f"{GUARD_4}:nitro") == (guard.model, three.third.bodies[0]["model"])
    assert [GUARD_4, GUARD_3] == three.third.bodies[0]["models"]


ELSEWHERE = {name: site for name, site in SITES.items() if site.name != "OpenRouter"}
elsewhere = pytest.mark.parametrize("site", ELSEWHERE.values(), ids=ELSEWHERE)


@elsewhere
@pytest.mark.parametrize("settings", [{"fallback_models": [GUARD_3]}, {"variant": "nitro"}, {"variant": "Exacto"}])
def test_they_are_refused_elsewhere_by_the_name_of_the_host(site: Site, settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="variant and fallback_models are OpenRouter's") as caught:
        LlamaGuard(**site.settings, **settings)
    assert site.name in str(caught.value)


@pytest.mark.parametrize("settings", [{"fallback_models": [GUARD_3]}, {"variant": "nitro"}])
def test_they_are_refused_in_a_list_without_openrouter(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="are OpenRouter's; vLLM"):
        LlamaGuard(host=["vllm", "together"], **settings)


VARIANTS = {
    "balanced": "", "Balanced": "", "BALANCED": "", "nitro": ":nitro", "Nitro": ":nitro", "NITRO": ":nitro",
    "exacto": ":exacto", "Exacto": ":exacto", "EXACTO": ":exacto", "floor": ":floor", "free": ":free",
}  # fmt: skip


@pytest.mark.parametrize(("variant", "suffix"), VARIANTS.items())
def test_a_variant_in_any_case_is_a_suffix_of_the_guards_id(variant: Any, suffix: str, opened: Opens) -> None:
    fake = opened(AT_OPENROUTER)
    assert not AT_OPENROUTER.guard(fake, variant=variant).check("A BOMB.").safe
    assert f"{GUARD_4}{suffix}" == fake.bodies[0]["model"]


@pytest.mark.parametrize(("variant", "suffix"), VARIANTS.items())
@pytest.mark.parametrize("kind", ["langchain", "llamaindex"])
def test_a_variant_in_any_case_is_a_suffix_of_scouts_id(variant: Any, suffix: str, kind: str) -> None:
    provider = FakeProvider()
    settings: dict[str, Any] = {"api_key": "sk-openrouter", "http_client": provider.client(), "variant": variant}
    if kind == "langchain":
        ChatLlamaScout(**settings).invoke("Hello")
    else:
        LlamaScout(**settings).complete("Hello")
    assert f"meta-llama/llama-4-scout{suffix}" == provider.requests[0].body["model"]
    assert [] == provider.violations


@every_site
def test_balanced_is_what_every_host_does_anyway(site: Site, opened: Opens) -> None:
    assert not site.guard(opened(site), variant="balanced").check("A BOMB.").safe


@pytest.mark.parametrize("variant", ["quick", "", "nitro:free", " nitro"])
def test_a_variant_that_does_not_exist_is_refused(variant: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"variant: .*is none of balanced, nitro, floor, exacto, free"):
        LlamaGuard(variant=variant)


def test_a_suffix_and_a_variant_that_differ_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="suffix already"):
        LlamaGuard(model=f"{GUARD_4}:free", variant="nitro")


@elsewhere
def test_routing_is_shown_to_openrouter_and_to_addresses_that_may_be_a_proxy_of_it(site: Site) -> None:
    guard = LlamaGuard(**site.settings, routing=ProviderRouting(only=("novita",)))
    assert (site.name == "guards.example") == ("novita" in repr(guard))
