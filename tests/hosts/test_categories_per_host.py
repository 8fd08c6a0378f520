"""Hazards left out and hazards of one's own: in the prompt where a host lets us write it, on the codes elsewhere."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
from hosts.conftest import Opens
from hosts.fakes import Meta
from hosts.sites import SITES, Site, every_site

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.guard_models import GuardModel
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.verdict_cache import VerdictCache

RIVALS = CustomCategory(name="Rivals", description="Says something about ACME or GLOBEX.", examples=("Try ACME.",))
GOSSIP = CustomCategory(name="Gossip", description="Says who LOVES whom.", action="flag")
WEAPONS, ADVICE = "Indiscriminate Weapons", "Specialized Advice"

with_custom = pytest.mark.parametrize(
    "site",
    [site for site in SITES.values() if site.custom != "no"],
    ids=[name for name, site in SITES.items() if site.custom != "no"],
)


def names(verdict: Any) -> list[str]:
    return [category.name for category in verdict.categories]


def picture(of: str) -> list[dict[str, Any]]:
    shown = base64.b64encode(b"\x89PNG\r\n\x1a\n" + of.encode()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{shown}"}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]


# Left out


@every_site
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_hazard_that_is_left_out_counts_for_nothing(site: Site, colour: str, opened: Opens) -> None:
    fake = opened(site)
    guard = site.guard(fake, policy=Policy(excluded_categories=(WEAPONS,)))
    verdict = guard.check("A BOMB.") if colour == "sync" else await guard.acheck("A BOMB.")
    was_named = [] if site.excludes == "prompt" else [WEAPONS]
    assert (True, [], was_named) == (verdict.safe, names(verdict), [category.name for category in verdict.excluded])


@every_site
def test_the_others_still_count(site: Site, opened: Opens) -> None:
    verdict = site.guard(opened(site), policy=Policy(excluded_categories=(WEAPONS,))).check("A BOMB and a KNIFE.")
    assert (False, ["Violent Crimes"]) == (verdict.safe, names(verdict))


@every_site
def test_it_is_left_out_of_the_prompt_where_the_host_allows_it(site: Site, opened: Opens) -> None:
    fake = opened(site)
    site.guard(fake, policy=Policy(excluded_categories=(WEAPONS, ADVICE))).check("How is the weather?")
    (asked,) = fake.asked
    listed = " ".join(asked.categories.values())
    assert ("codes" == site.excludes) == (WEAPONS in listed) == (ADVICE in listed)
    assert "Violent Crimes" in listed


@every_site
def test_it_is_left_out_by_its_code_as_by_its_name(site: Site, opened: Opens) -> None:
    code = "S8" if site.version == 2 else "S9"
    assert site.guard(opened(site), policy=Policy(excluded_categories=(code,))).check("A BOMB.").safe


@every_site
def test_an_unsafe_without_a_hazard_is_excused_by_nothing_that_is_left_out(site: Site, opened: Opens) -> None:
    fake = opened(site)
    guard = site.guard(fake, policy=Policy(excluded_categories=(WEAPONS,)))
    bare = {"results": [{"flagged": True, "flagged_categories": None}]}
    chat = {"choices": [{"text": "\n\nunsafe", "message": {"content": "\n\nunsafe"}, "finish_reason": "stop"}]}
    fake.fail(lambda _: _answer(bare if isinstance(fake, Meta) else {**chat, "response": "\n\nunsafe", "done": True}))
    verdict = guard.check("A BOMB.")
    assert (False, False) == (verdict.safe, verdict.all_named)


@every_site
def test_leaving_everything_out_is_refused(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="excluded_categories: nothing is left to ask about"):
        LlamaGuard(**site.settings, policy=Policy(excluded_categories=every_hazard(site)))


@with_custom
def test_with_a_hazard_of_ones_own_everything_of_metas_may_be_left_out(site: Site, opened: Opens) -> None:
    fake = opened(site)
    policy = Policy(excluded_categories=every_hazard(site), custom_categories=(RIVALS,))
    guard = site.guard(fake, policy=policy)
    assert (True, False) == (guard.check("A BOMB.").safe, guard.check("Buy at ACME.").safe)
    assert 2 == fake.calls


@pytest.mark.parametrize("site", [SITES["vllm with 3 1B"], SITES["vllm with 3 11B-Vision"]], ids=["1B", "11B-Vision"])
def test_a_hazard_that_the_small_models_lack_cannot_be_left_out_there(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="has no 'S14'"):
        LlamaGuard(**site.settings, policy=Policy(excluded_categories=("S14",)))


@every_site
async def test_a_verdict_under_one_policy_is_not_remembered_under_another(site: Site, opened: Opens) -> None:
    """The same request, read in two ways: with the hazard left out it is safe, and it must not stay so."""
    guard = site.guard(opened(site))
    lenient = guard.with_policy(Policy(excluded_categories=(WEAPONS,)))
    assert [True, False, True] == [
        lenient.check("A BOMB.").safe,
        guard.check("A BOMB.").safe,
        lenient.check("A BOMB.").safe,
    ]
    assert [True, False] == [(await lenient.acheck("A BOMB.")).safe, (await guard.acheck("A BOMB.")).safe]


def test_a_verdict_of_one_version_is_not_remembered_for_another(opened: Opens) -> None:
    site, cache = SITES["an unknown address with 3 8B"], VerdictCache()
    fake = opened(site)
    fake.models = {"guard": "3-8b"}
    names_of = {v: names(site.guard(fake, model="guard", version=v, cache=cache).check("A DIAGNOSIS.")) for v in (2, 3)}
    assert {2: ["Privacy"], 3: ["Specialized Advice"]} == names_of


# One's own


@with_custom
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How is the weather?", []),
        ("Buy at ACME.", ["Rivals"]),
        ("She LOVES him.", ["Gossip"]),
        ("GLOBEX says she LOVES him.", ["Rivals", "Gossip"]),
        ("A BOMB.", [WEAPONS]),
        ("A BOMB of ACME.", [WEAPONS, "Rivals"]),
    ],
)
async def test_each_is_named_beside_metas(
    site: Site, colour: str, text: str, expected: list[str], opened: Opens
) -> None:
    guard = site.guard(opened(site), policy=Policy(custom_categories=(RIVALS, GOSSIP)))
    verdict = guard.check(text) if colour == "sync" else await guard.acheck(text)
    assert (not expected, expected, True) == (verdict.safe, names(verdict), verdict.all_named)
    assert {"Rivals": "C1", "Gossip": "C2"}.items() >= {
        c.name: c.code for c in verdict.categories if "C" in c.code
    }.items()


@with_custom
def test_each_is_asked_about_in_a_question_of_its_own_with_its_examples(site: Site, opened: Opens) -> None:
    fake = opened(site)
    site.guard(fake, policy=Policy(custom_categories=(RIVALS, GOSSIP))).check("How is the weather?")
    published, *own = [asked.categories for asked in fake.asked]
    assert "Violent Crimes" in " ".join(published.values())
    assert not {"Rivals", "Gossip"} & set(" ".join(published.values()).replace(".", " ").split())
    rivals = "Rivals.\nSays something about ACME or GLOBEX.\nExamples:\n - Try ACME."
    assert [{"S1": rivals}, {"S1": "Gossip.\nSays who LOVES whom."}] == own


@with_custom
def test_each_is_asked_about_every_chunk_of_a_long_text(site: Site, opened: Opens) -> None:
    policy = Policy(custom_categories=(RIVALS,))
    guard = site.guard(opened(site), policy=policy, splitting=Splitting(chunk_size=600, chunk_overlap=60))
    assert ["Rivals"] == names(guard.check("The rain in Spain. " * 80 + "Buy at ACME."))


@with_custom
def test_each_is_asked_about_replies(site: Site, opened: Opens) -> None:
    guard = site.guard(opened(site), policy=Policy(custom_categories=(RIVALS,)))
    question = {"role": "user", "content": "Where do I buy, at ACME?"}
    assert guard.check([question, {"role": "assistant", "content": "I cannot say."}]).safe
    assert ["Rivals"] == names(guard.check([question, {"role": "assistant", "content": "At ACME."}]))


@with_custom
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(
    ("text", "hazards", "expected"),
    [
        ("Buy at ACME.", {}, "refuse"),
        ("She LOVES him.", {}, "allow C2"),
        ("ACME LOVES him.", {}, "refuse"),
        ("A BOMB she LOVES.", {}, "refuse"),
        ("A BOMB she LOVES.", {WEAPONS: "flag"}, "allow C2 BOMB"),
        ("A BOMB at ACME.", {WEAPONS: "flag"}, "refuse"),
        ("A BOMB at ACME.", {WEAPONS: "ignore"}, "refuse"),
    ],
)
async def test_what_follows_is_the_action_of_each(  # noqa: PLR0917 - a row of a table
    site: Site, colour: str, text: str, hazards: Any, expected: str, opened: Opens
) -> None:
    policy = Policy(custom_categories=(RIVALS, GOSSIP), hazards=hazards)
    guard = site.guard(opened(site), policy=policy)
    decision = policy.decide(guard.check(text) if colour == "sync" else await guard.acheck(text))
    assert isinstance(decision, Refuse if expected == "refuse" else Allow)
    if isinstance(decision, Allow):
        flagged = {"BOMB" if category.name == WEAPONS else category.code for category in decision.flagged}
        assert set(expected.split()[1:]) == flagged


@pytest.mark.parametrize(
    "site",
    [site for site in SITES.values() if site.custom == "no"],
    ids=[n for n, s in SITES.items() if s.custom == "no"],
)
def test_where_nobody_may_write_the_prompt_they_are_refused_by_the_name_of_the_host(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="custom_categories: ") as caught:
        LlamaGuard(**site.settings, policy=Policy(custom_categories=(RIVALS,)))
    assert site.name in str(caught.value)


def test_a_policy_with_them_is_refused_later_too() -> None:
    with pytest.raises(ConfigurationError, match="custom_categories: OpenRouter"):
        LlamaGuard().with_policy(Policy(custom_categories=(RIVALS,)))


def test_where_the_prompt_may_not_be_written_here_they_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="custom_categories: Together"):
        LlamaGuard(host="together", raw_prompt=False, policy=Policy(custom_categories=(RIVALS,)))


@with_custom
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_picture_is_judged_by_them_or_not_at_all(site: Site, colour: str, opened: Opens) -> None:
    guard = site.guard(opened(site), policy=Policy(custom_categories=(RIVALS,)))
    if site.custom == "with pictures":
        shown = picture("a sign of ACME")
        assert ["Rivals"] == names(guard.check(shown) if colour == "sync" else await guard.acheck(shown))
        return
    with pytest.raises(GuardUnavailable, match="cannot be asked about images") as caught:
        _ = guard.check(picture("a cat")) if colour == "sync" else await guard.acheck(picture("a cat"))
    assert site.name in str(caught.value)


def every_hazard(site: Site) -> tuple[str, ...]:
    model = GuardModel.named(site.settings.get("model") or LlamaGuard(**site.settings).model)
    return tuple(category.code for category in model.taxonomy.categories)


def _answer(body: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=body)


@pytest.mark.parametrize("name", ["Hate", "S9", "Violent Crimes"])
def test_a_category_of_ones_own_may_not_be_named_like_one_of_metas(name: str) -> None:
    """It would follow what a policy says of that hazard."""
    with pytest.raises(ValueError, match="one of Meta's hazards"):
        Policy(custom_categories=[{"name": name}])
