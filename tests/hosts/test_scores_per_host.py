"""Where a host tells log-probabilities there is a score, of the token that says the verdict; elsewhere there is none."""

from __future__ import annotations

from typing import Any

import pytest
from hosts.conftest import Opens
from hosts.fakes import SCORE_OF_SAFE, SCORE_OF_UNSAFE
from hosts.sites import SITES, Site, every_site

from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.splitting import Splitting

LONG = "The rain in Spain. " * 80

with_scores = pytest.mark.parametrize(
    "site", [site for site in SITES.values() if site.scores], ids=[name for name, site in SITES.items() if site.scores]
)
without_scores = pytest.mark.parametrize(
    "site",
    [site for site in SITES.values() if not site.scores],
    ids=[name for name, site in SITES.items() if not site.scores],
)


@with_scores
async def test_it_is_the_probability_at_the_word_and_not_at_the_line_break_before_it(site: Site, opened: Opens) -> None:
    guard = site.guard(opened(site), cache=False)
    for text, score in (("A BOMB.", SCORE_OF_UNSAFE), ("How is the weather?", SCORE_OF_SAFE)):
        assert pytest.approx(score) == guard.check(text).score == (await guard.acheck(text)).score


@with_scores
async def test_that_of_a_long_text_is_its_worst_chunks(site: Site, opened: Opens) -> None:
    guard = site.guard(opened(site), cache=False, splitting=Splitting(chunk_size=600, chunk_overlap=60))
    assert pytest.approx(SCORE_OF_UNSAFE) == guard.check(LONG + "A BOMB.").score
    assert pytest.approx(SCORE_OF_UNSAFE) == (await guard.acheck(LONG + "A BOMB.")).score


@without_scores
async def test_elsewhere_there_is_none(site: Site, opened: Opens) -> None:
    guard = site.guard(opened(site), cache=False)
    assert (None, None) == (guard.check("A BOMB.").score, (await guard.acheck("A BOMB.")).score)


@every_site
def test_nobody_is_asked_for_what_it_refuses_or_has_not(site: Site, opened: Opens) -> None:
    fake = opened(site)
    site.guard(fake).check("A BOMB.")
    assert site.scores == any("logprobs" in body for body in fake.bodies)


@every_site
def test_a_threshold_without_a_score_blocks(site: Site, opened: Opens) -> None:
    policy = Policy(thresholds={"Indiscriminate Weapons": 0.99})
    decision = policy.decide(site.guard(opened(site), policy=policy).check("A BOMB."))
    assert isinstance(decision, Allow if site.scores else Refuse)


@with_scores
@pytest.mark.parametrize("broken", ["no", 7, [], {}, {"content": 1}, {"content": [None]}, {"tokens": [None]}], ids=repr)
def test_log_probabilities_that_make_no_sense_cost_the_score_and_not_the_verdict(
    site: Site, broken: Any, opened: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = opened(site)
    spoil = "as_list" if site.name == "Ollama" else "logprobs_of"
    if site.name == "Ollama":
        monkeypatch.setattr(f"hosts.fakes.spoken.Spoken.{spoil}", lambda *_: broken)
    else:
        monkeypatch.setattr(type(fake), spoil, lambda *_: broken)
    verdict = site.guard(fake).check("A BOMB.")
    assert (False, None) == (verdict.safe, verdict.score)
