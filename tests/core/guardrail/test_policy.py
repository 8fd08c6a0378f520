"""What follows from a verdict, or from none, under a policy; and how a policy is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tomllib
import yaml
from pydantic import ValidationError

from llama_guard_core.errors import ConfigurationError, GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Decision, Raise, Refuse, decision_record, decision_records
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, DEFAULT_REFUSAL, Policy
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict

V4 = Taxonomy.of(4)
NO_VERDICT = GuardUnavailable("the host is down", reason="server", stage=Stage.PROMPT)


def verdict(answer: str, stage: Stage = Stage.PROMPT) -> Verdict:
    return read_verdict(answer, taxonomy=V4, stage=stage)


def outcome(decision: Decision) -> str:
    """A decision in one line: what is done, what was flagged, whether monitor mode let it pass."""
    match decision:
        case Allow(flagged=flagged, overruled=overruled):
            return " ".join(["allow", *(category.code for category in flagged), *(["overruled"] if overruled else [])])
        case Refuse():
            return "refuse"
        case Raise():
            return "raise"


UNSAFE = [
    ({}, "safe", "allow"),
    ({"on_unsafe": "raise", "hazards": {"S1": "block"}}, "safe", "allow"),
    ({}, "unsafe\nS1", "refuse"),
    ({}, "unsafe", "refuse"),
    ({}, "unsafe\nS15", "refuse"),
    ({"on_unsafe": "raise"}, "unsafe\nS1", "raise"),
    ({"hazards": {"S6": "flag"}}, "unsafe\nS6", "allow S6"),
    ({"hazards": {"S6": "ignore"}}, "unsafe\nS6", "allow"),
    ({"hazards": {"S6": "block"}}, "unsafe\nS6", "refuse"),
    ({"hazards": {"Specialized Advice": "flag"}}, "unsafe\nS6", "allow S6"),
    ({"hazards": {"S6": "flag", "Specialized Advice": "block"}}, "unsafe\nS6", "allow S6"),
    ({"hazards": {"S6": "flag", "S7": "flag"}}, "unsafe\nS6,S7", "allow S6 S7"),
    ({"hazards": {"S6": "flag", "S7": "ignore"}}, "unsafe\nS6,S7", "allow S6"),
    ({"hazards": {"S6": "flag"}}, "unsafe\nS6,S1", "refuse"),
    ({"hazards": {"S6": "ignore"}}, "unsafe\nS6,S1", "refuse"),
    ({"hazards": {"S6": "flag"}}, "unsafe\nS6,S15", "refuse"),
    ({"hazards": {"S6": "ignore"}}, "unsafe\nS6 and more", "refuse"),
    ({"hazards": {f"S{n}": "ignore" for n in range(1, 15)}}, "unsafe", "refuse"),
    ({"hazards": {"S15": "ignore"}}, "unsafe\nS15", "refuse"),
    ({"mode": "monitor"}, "unsafe\nS1", "allow overruled"),
    ({"mode": "monitor"}, "unsafe", "allow overruled"),
    ({"mode": "monitor", "on_unsafe": "raise"}, "unsafe\nS1", "allow overruled"),
    ({"mode": "monitor", "hazards": {"S6": "flag"}}, "unsafe\nS6", "allow S6"),
    ({"mode": "monitor", "hazards": {"S6": "flag"}}, "unsafe\nS6,S1", "allow S6 overruled"),
    ({"per_stage": {"prompt": {"mode": "monitor"}}}, "unsafe\nS1", "allow overruled"),
    ({"mode": "monitor", "per_stage": {"prompt": {"mode": "enforce"}}}, "unsafe\nS1", "refuse"),
    ({"per_stage": {"reply": {"mode": "monitor"}}}, "unsafe\nS1", "refuse"),
    ({"per_stage": {"prompt": {"on_unsafe": "raise"}}}, "unsafe\nS1", "raise"),
    ({"on_unsafe": "raise", "per_stage": {"prompt": {"on_unsafe": "refuse"}}}, "unsafe\nS1", "refuse"),
    ({"per_stage": {"prompt": {"hazards": {"S1": "flag"}}}}, "unsafe\nS1", "allow S1"),
    ({"hazards": {"S6": "flag"}, "per_stage": {"prompt": {"hazards": {"S1": "flag"}}}}, "unsafe\nS6,S1", "allow S6 S1"),
    ({"hazards": {"S6": "flag"}, "per_stage": {"prompt": {"hazards": {"S6": "block"}}}}, "unsafe\nS6", "refuse"),
    (
        {"hazards": {"S6": "flag"}, "per_stage": {"prompt": {"hazards": {"Specialized Advice": "block"}}}},
        "unsafe\nS6",
        "refuse",
    ),
]


@pytest.mark.parametrize(("settings", "answer", "expected"), UNSAFE)
def test_what_follows_from_a_verdict(settings: dict[str, Any], answer: str, expected: str) -> None:
    judged = verdict(answer)
    decision = Policy(**settings).decide(judged)
    assert (expected, Stage.PROMPT) == (outcome(decision), decision.stage)
    about = decision.error if isinstance(decision, Raise) else decision
    assert judged is getattr(about, "verdict", None)


NONE_TO_BE_HAD = [
    ({}, "refuse"),
    ({"on_no_verdict": "raise"}, "raise"),
    ({"on_no_verdict": "allow"}, "allow"),
    ({"on_unsafe": "raise"}, "refuse"),
    ({"mode": "monitor"}, "allow overruled"),
    ({"mode": "monitor", "on_no_verdict": "raise"}, "allow overruled"),
    ({"mode": "monitor", "on_no_verdict": "allow"}, "allow"),
    ({"per_stage": {"prompt": {"on_no_verdict": "allow"}}}, "allow"),
    ({"per_stage": {"reply": {"on_no_verdict": "allow"}}}, "refuse"),
    ({"on_no_verdict": "allow", "per_stage": {"prompt": {"on_no_verdict": "raise"}}}, "raise"),
    ({"mode": "monitor", "per_stage": {"prompt": {"mode": "enforce"}}}, "refuse"),
]


@pytest.mark.parametrize(("settings", "expected"), NONE_TO_BE_HAD)
def test_what_follows_when_no_verdict_could_be_had(settings: dict[str, Any], expected: str) -> None:
    decision = Policy(**settings).without_verdict(Stage.PROMPT, NO_VERDICT)
    assert (expected, Stage.PROMPT, NO_VERDICT) == (outcome(decision), decision.stage, decision.error)


def test_unsafe_without_a_named_hazard_is_refused_even_if_said_to_be_complete() -> None:
    assert "refuse" == outcome(Policy().decide(Verdict(safe=False)))


@pytest.mark.parametrize(
    ("settings", "refusal", "apology"),
    [
        ({}, DEFAULT_REFUSAL, DEFAULT_APOLOGY),
        ({"refusal": "No.", "apology": "Later."}, "No.", "Later."),
        ({"per_stage": {"prompt": {"refusal": "No!", "apology": ""}}}, "No!", ""),
        ({"refusal": lambda verdict: f"No {verdict.categories[0]}."}, "No S1 Violent Crimes.", DEFAULT_APOLOGY),
        ({"per_stage": {"prompt": {"refusal": lambda verdict: verdict.stage.value}}}, "prompt", DEFAULT_APOLOGY),
    ],
)
def test_what_is_shown_in_place_of_refused_text(settings: dict[str, Any], refusal: str, apology: str) -> None:
    policy = Policy(**settings)
    decisions = [policy.decide(verdict("unsafe\nS1")), policy.without_verdict(Stage.PROMPT, NO_VERDICT)]
    assert [refusal, apology] == [decision.text for decision in decisions if isinstance(decision, Refuse)]


def test_a_refusal_function_is_asked_only_when_something_is_refused() -> None:
    asked: list[Verdict] = []

    def refusal(judged: Verdict) -> str:
        asked.append(judged)
        return "No."

    policy = Policy(refusal=refusal, mode="monitor")
    policy.decide(verdict("unsafe\nS1"))
    policy.decide(verdict("safe"))
    assert [] == asked


def test_unsafe_content_carries_stage_verdict_and_refusal_and_names_the_hazards() -> None:
    judged = verdict("unsafe\nS1,S9", Stage.TOOL_CALL)
    decision = Policy(on_unsafe="raise", refusal="No.").decide(judged)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, UnsafeContent)
    told = "Llama Guard judged the tool call unsafe (S1 Violent Crimes, S9 Indiscriminate Weapons)"
    assert (told, Stage.TOOL_CALL, "No.") == (str(decision.error), decision.error.stage, decision.error.refusal)


SETTINGS = {
    "stages": ["prompt", "reply"],
    "hazards": {"S6": "flag", "Elections": "ignore"},
    "mode": "monitor",
    "refusal": "No.",
    "apology": "Later.",
    "on_unsafe": "raise",
    "on_no_verdict": "allow",
    "per_stage": {"reply": {"hazards": {"S7": "ignore"}, "on_unsafe": "refuse"}},
}
AS_TOML = """
stages = ["prompt", "reply"]
mode = "monitor"
refusal = "No."
apology = "Later."
on_unsafe = "raise"
on_no_verdict = "allow"
[hazards]
S6 = "flag"
Elections = "ignore"
[per_stage.reply]
on_unsafe = "refuse"
hazards.S7 = "ignore"
"""


def test_a_policy_is_the_same_from_a_dict_json_yaml_and_toml() -> None:
    policy = Policy.from_mapping(SETTINGS)
    assert policy == Policy.from_json(json.dumps(SETTINGS))
    assert policy == Policy.from_mapping(yaml.safe_load(yaml.safe_dump(SETTINGS)))
    assert policy == Policy.from_mapping(tomllib.loads(AS_TOML))
    assert (frozenset({Stage.PROMPT, Stage.REPLY}), "monitor", "No.") == (policy.stages, policy.mode, policy.refusal)


WRONG = [
    ({"stages": []}, "stages: "),
    ({"stages": "prompt"}, "stages: "),
    ({"stages": ["promt"]}, "stages.0: Input should be 'prompt', 'reply', 'tool_call', 'tool_result' or 'document'"),
    ({"hazards": {"S6": "flagg"}}, "hazards.S6: Input should be 'block', 'flag' or 'ignore'"),
    ({"hazards": {"Weapons": "flag"}}, "hazards: Value error, 'Weapons' is no hazard: write a code such as 'S9'"),
    ({"hazards": {"s9": "flag"}}, "'s9' is no hazard"),
    ({"mode": "log"}, "mode: Input should be 'enforce' or 'monitor'"),
    ({"refusal": 3}, "refusal."),
    ({"on_unsafe": "allow"}, "on_unsafe: Input should be 'refuse' or 'raise'"),
    ({"on_no_verdict": None}, "on_no_verdict: Input should be 'refuse', 'raise' or 'allow'"),
    ({"per_stage": {"repyl": {}}}, "per_stage.repyl."),
    ({"per_stage": {"reply": {"hazards": {"Hatred": "flag"}}}}, "per_stage.reply.hazards: Value error, 'Hatred' is no"),
    ({"per_stage": {"reply": {"stages": ["prompt"]}}}, "per_stage.reply.stages: Extra inputs are not permitted"),
    ({"on_unsave": "raise"}, "on_unsave: Extra inputs are not permitted"),
    ({"mode": "log", "apology": 1}, "mode: Input should be 'enforce' or 'monitor'; apology: "),
    ([], "policy: "),
    (None, "policy: "),
]


@pytest.mark.parametrize(("settings", "told"), WRONG)
def test_settings_that_cannot_be_used_are_refused_with_the_name_of_the_field(settings: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as from_mapping:
        Policy.from_mapping(settings)
    with pytest.raises(ConfigurationError) as from_json:
        Policy.from_json(json.dumps(settings))
    assert told in str(from_mapping.value)
    assert told.partition("Input")[0] in str(from_json.value)


def test_a_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Invalid JSON"):
        Policy.from_json("{stages: }")


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Policy().mode = "monitor"


@pytest.mark.parametrize(
    ("settings", "version", "told"),
    [
        ({"hazards": {"S12": "flag"}}, 2, "Llama Guard 2 as asked here has no 'S12'; it has S1, S2"),
        ({"hazards": {"O1": "flag"}}, 4, "no 'O1'"),
        ({"hazards": {"S15": "ignore"}}, 4, "no 'S15'"),
        ({"hazards": {"Elections": "flag"}}, 1, "no 'Elections'"),
        ({"per_stage": {"reply": {"hazards": {"Defamation": "flag"}}}}, 2, "no 'Defamation'"),
    ],
)
def test_a_hazard_the_guard_never_names_is_refused(settings: dict[str, Any], version: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Policy(**settings).check_against(Taxonomy.of(version))


def test_a_policy_about_hazards_of_the_guards_version_is_accepted() -> None:
    Policy.from_mapping(SETTINGS).check_against(V4)


def test_where_nothing_was_judged_there_is_no_record() -> None:
    judged, unjudged = Policy().decide(verdict("safe")), Policy().without_verdict(Stage.REPLY, NO_VERDICT)
    assert isinstance(judged, Allow)
    assert isinstance(unjudged, Refuse)
    assert [] == decision_records(Allow())
    assert [decision_record(judged)] == decision_records(judged)
    assert [decision_record(unjudged)] == decision_records(unjudged)


def test_decision_records_are_json_and_hold_no_answer() -> None:
    policy = Policy(hazards={"S6": "flag"})
    judged = [verdict(answer) for answer in ("safe", "unsafe\nS6", "unsafe\nS1 zebra")]
    decisions = [*map(policy.decide, judged), policy.without_verdict(Stage.REPLY, NO_VERDICT)]
    records = [decision_record(decision) for decision in decisions if not isinstance(decision, Raise)]
    told = [(r["action"], r["stage"], r.get("flagged"), r["verdict"] and r["verdict"]["safe"]) for r in records]
    assert [("allow", "prompt", [], True), ("allow", "prompt", ["S6"], False)] == told[:2]
    assert [("refuse", "prompt", None, False), ("refuse", "reply", None, None)] == told[2:]
    assert [None, None, None, "server"] == [record["no_verdict"] for record in records]
    assert records == json.loads(json.dumps(records))
    assert "zebra" not in f"{records} {decisions}"
