"""A threshold lets a hazard pass below a score, and never where there is doubt about what was said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.decisions import Allow, Decision, Raise, Refuse
from llama_guard_core.guardrail.hazards import HazardCategory, Taxonomy
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict

V4 = Taxonomy.of(4)
generated = settings(deadline=None)


def verdict(answer: str, score: float | None, stage: Stage = Stage.PROMPT) -> Verdict:
    return replace(read_verdict(answer, taxonomy=V4, stage=stage), score=score)


def outcome(decision: Decision) -> str:
    """A decision in one line: what is done, and what was flagged."""
    match decision:
        case Allow(flagged=flagged, overruled=overruled):
            return " ".join(["allow", *(category.code for category in flagged), *(["overruled"] if overruled else [])])
        case Refuse():
            return "refuse"
        case Raise():
            return "raise"


BY_CODE = {"thresholds": {"S6": 0.8}}
BY_NAME = {"thresholds": {"Specialized Advice": 0.8}}


@pytest.mark.parametrize("settings", [BY_CODE, BY_NAME], ids=["by code", "by name"])
@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, "allow S6"), (0.7999, "allow S6"), (0.8, "refuse"), (0.95, "refuse"), (1.0, "refuse"), (None, "refuse")],
)
def test_below_it_a_hazard_is_flagged_and_from_it_on_blocked(
    settings: dict[str, Any], score: float | None, expected: str
) -> None:
    assert expected == outcome(Policy(**settings).decide(verdict("unsafe\nS6", score)))


@pytest.mark.parametrize(
    ("settings", "answer", "score", "expected"),
    [
        (BY_CODE, "safe", 0.99, "allow"),
        (BY_CODE, "unsafe\nS1", 0.1, "refuse"),
        (BY_CODE, "unsafe\nS6,S1", 0.1, "refuse"),
        ({"thresholds": {"S6": 0.8, "S1": 0.5}}, "unsafe\nS6,S1", 0.4, "allow S6 S1"),
        ({"thresholds": {"S6": 0.8, "S1": 0.5}}, "unsafe\nS6,S1", 0.6, "refuse"),
        ({"thresholds": {"S6": 0.0}}, "unsafe\nS6", 0.0, "refuse"),
        ({"thresholds": {"S6": 1.0}}, "unsafe\nS6", 0.9999, "allow S6"),
        ({"thresholds": {"S6": 1.0}}, "unsafe\nS6", 1.0, "refuse"),
        (BY_CODE, "unsafe", 0.1, "refuse"),
        (BY_CODE, "unsafe\nS6 and more", 0.1, "refuse"),
        (BY_CODE, "unsafe\nS6,S15", 0.1, "refuse"),
        ({"thresholds": {"S15": 0.9}}, "unsafe\nS15", 0.1, "refuse"),
        ({**BY_CODE, "hazards": {"S6": "flag"}}, "unsafe\nS6", 0.99, "allow S6"),
        ({**BY_CODE, "hazards": {"S6": "ignore"}}, "unsafe\nS6", 0.1, "allow"),
        ({**BY_CODE, "hazards": {"S6": "block"}}, "unsafe\nS6", 0.1, "allow S6"),
        ({**BY_CODE, "on_unsafe": "raise"}, "unsafe\nS6", 0.9, "raise"),
        ({**BY_CODE, "mode": "monitor"}, "unsafe\nS6", 0.9, "allow overruled"),
        ({**BY_CODE, "mode": "monitor"}, "unsafe\nS6", 0.1, "allow S6"),
        ({"per_stage": {"prompt": BY_CODE}}, "unsafe\nS6", 0.1, "allow S6"),
        ({"per_stage": {"reply": BY_CODE}}, "unsafe\nS6", 0.1, "refuse"),
        ({**BY_CODE, "per_stage": {"prompt": {"thresholds": {"S6": 0.05}}}}, "unsafe\nS6", 0.1, "refuse"),
        ({**BY_CODE, "per_stage": {"prompt": {"thresholds": BY_NAME["thresholds"]}}}, "unsafe\nS6", 0.7, "allow S6"),
        ({**BY_CODE, "per_stage": {"prompt": {"thresholds": {"S1": 0.5}}}}, "unsafe\nS6,S1", 0.3, "allow S6 S1"),
    ],
)
def test_what_follows(settings: dict[str, Any], answer: str, score: float, expected: str) -> None:
    assert expected == outcome(Policy(**settings).decide(verdict(answer, score)))


def test_the_strictest_of_several_stages_holds() -> None:
    policy = Policy(per_stage={"prompt": {"thresholds": {"S6": 0.8}}, "document": {"thresholds": {"S6": 0.2}}})
    assert "allow S6" == outcome(policy.decide(verdict("unsafe\nS6", 0.5)))
    assert "refuse" == outcome(policy.decide(verdict("unsafe\nS6", 0.5), also=[Stage.DOCUMENT]))


@generated
@given(st.floats(0, 1), st.none() | st.floats(0, 1))
def test_nothing_passes_unflagged_and_nothing_from_the_threshold_on(threshold: float, score: float | None) -> None:
    decision = outcome(Policy(thresholds={"S6": threshold}).decide(verdict("unsafe\nS6", score)))
    assert ("allow S6" if score is not None and score < threshold else "refuse") == decision


@pytest.mark.parametrize("answer", ["unsafe", "unsafe\nS6 and S-something", "unsafe\nS15"])
@generated
@given(score=st.floats(0, 1))
def test_what_the_guard_did_not_say_is_excused_by_no_score(answer: str, score: float) -> None:
    policy = Policy(thresholds={category.code: 1.0 for category in V4.categories})
    assert "refuse" == outcome(policy.decide(verdict(answer, score)))


def test_a_hazard_of_ones_own_has_no_threshold_and_a_name_like_one_of_metas_does_not_lend_it_one() -> None:
    policy = Policy(thresholds={"S6": 0.8}, custom_categories=(CustomCategory(name="Rivals"),))
    said = Verdict(safe=False, categories=(HazardCategory("C1", "Rivals", 4),), score=0.1)
    assert "refuse" == outcome(policy.decide(said))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, 100, "high", None])
@pytest.mark.parametrize(
    "settings", [lambda t: {"thresholds": t}, lambda t: {"per_stage": {"reply": {"thresholds": t}}}]
)
def test_a_threshold_beyond_0_and_1_is_refused_by_the_name_of_its_field(settings: Any, threshold: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"thresholds\.S6"):
        Policy.from_mapping(settings({"S6": threshold}))


def test_a_threshold_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"thresholds\.S6"):
        Policy.from_mapping({"thresholds": {"S6": float("nan")}})


def test_a_hazard_that_no_version_has_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"thresholds.*'Rudeness' is no hazard.*'S9'"):
        Policy.from_mapping({"thresholds": {"Rudeness": 0.5}})


@pytest.mark.parametrize(
    "policy", [Policy(thresholds={"S15": 0.5}), Policy(per_stage={"reply": {"thresholds": {"O1": 1}}})]
)
def test_a_hazard_that_the_guard_has_not_is_refused_by_it(policy: Policy) -> None:
    with pytest.raises(ConfigurationError, match="Llama Guard 4 as asked here has no"):
        policy.check_against(V4)


def test_thresholds_can_be_written_and_read_as_json() -> None:
    policy = Policy(thresholds={"S6": 0.8, "Hate": 0.5})
    assert policy == Policy.from_json(policy.model_dump_json())
    assert {"S6", "Hate"} == set(policy.hazards_named)
