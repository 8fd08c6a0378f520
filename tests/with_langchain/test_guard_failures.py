"""When no verdict can be had, nothing unjudged is shown unless the policy allows it, and the reason is told."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import Fault
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import Runnable
from with_langchain.attach_points import CHAINS, CHAT_MODELS, Scene
from with_langchain.ways import WAYS, Run

from llama_guard_core import GuardUnavailable, Policy, ProviderError, Stage
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY

UNJUDGED = ("Unjudged ", "words.")
SHORT_TIMEOUT = 0.15
"""Seconds a check may take where the host never stops talking."""

ROWS: list[tuple[Fault, str]] = [
    (Fault.status(401), "authentication"),
    (Fault.status(402), "payment"),
    (Fault.status(403), "permission"),
    (Fault.status(404), "not_found"),
    (Fault.status(408), "timeout"),
    (Fault.status(429), "rate_limit"),
    (Fault.status(429, retry_after=0.01), "rate_limit"),
    (Fault.daily_limit(), "daily_limit"),
    (Fault.status(500), "server"),
    (Fault.html(502), "server"),
    (Fault.status(503), "server"),
    (Fault.status(529), "server"),
    (Fault.html(200), "malformed"),
    (Fault.error_with_200(), "server"),
    (Fault.choice_error(), "server"),
    (Fault.all_null(), "empty"),
    (Fault.empty(), "empty"),
    (Fault.whitespace(), "empty"),
    (Fault.prose(), "unreadable"),
    (Fault.blank_body(), "cut"),
    (Fault.truncated_json(), "cut"),
    (Fault.cut("before_headers"), "cut"),
    (Fault.cut("in_headers"), "cut"),
    (Fault.cut("in_body"), "cut"),
    (Fault.cut("after_body"), "cut"),
    (Fault.stall("before_headers"), "timeout"),
    (Fault.stall("in_body"), "timeout"),
    (Fault.endless(), "timeout"),
]
PLACES = {
    "ChatLlamaScout": (CHAT_MODELS["ChatLlamaScout(guard)"], "Hello"),
    "guarded chain": (CHAINS["guarded(prompt | model | parser)"], {"question": "Hello"}),
}


class Decisions(BaseCallbackHandler):
    """What the guard told the application it decided: as custom events, or with the messages."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.records.append(data)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.records += response.generations[0][0].message.response_metadata.get("llama_guard", [])

    @property
    def reasons(self) -> list[str]:
        return [record["no_verdict"] for record in self.records if record["no_verdict"]]


def _scene(fault: Fault, stage: str, policy: Policy) -> Scene:
    settings = {"timeout": SHORT_TIMEOUT} if fault.name == "endless" else {}
    scene = Scene(policy, says=UNJUDGED, guard_settings=settings)
    scene.provider.fail(fault, on="guard", nth=1 if stage == "prompt" else 2)
    return scene


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("stage", ["prompt", "reply"])
@pytest.mark.parametrize(("fault", "reason"), ROWS, ids=[str(fault) for fault, _ in ROWS])
async def test_without_a_verdict_the_apology_is_shown_and_the_reason_told(
    fault: Fault, reason: str, stage: str, run: Run, place: Any
) -> None:
    make, value = place
    scene, decisions = _scene(fault, stage, Policy()), Decisions()
    shown = await run(make(scene), value, {"callbacks": [decisions]})
    assert DEFAULT_APOLOGY == shown
    assert [reason] == decisions.reasons
    assert (1 if stage == "prompt" else 2) == len(scene.provider.requests_of("guard"))
    assert (0 if stage == "prompt" else 1) == scene.model_calls
    assert 0 == scene.provider.responses_open


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("stage", ["prompt", "reply"])
@pytest.mark.parametrize(("fault", "reason"), ROWS, ids=[str(fault) for fault, _ in ROWS])
async def test_without_a_verdict_a_policy_may_raise_the_typed_reason(
    fault: Fault, reason: str, stage: str, run: Run, place: Any
) -> None:
    make, value = place
    scene = _scene(fault, stage, Policy(on_no_verdict="raise"))
    with pytest.raises(GuardUnavailable) as raised:
        await run(make(scene), value, {})
    assert (reason, Stage(stage)) == (raised.value.reason, raised.value.stage)
    assert "Unjudged" not in str(raised.value)
    cause = raised.value.__cause__
    assert reason == (cause.reason if isinstance(cause, ProviderError) else "unreadable")


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("stage", ["prompt", "reply"])
@pytest.mark.parametrize(("fault", "reason"), ROWS, ids=[str(fault) for fault, _ in ROWS])
async def test_without_a_verdict_a_policy_may_allow_what_nobody_judged_and_it_is_told(
    fault: Fault, reason: str, stage: str, run: Run, place: Any
) -> None:
    make, value = place
    scene, decisions = _scene(fault, stage, Policy(on_no_verdict="allow")), Decisions()
    assert "".join(UNJUDGED) == await run(make(scene), value, {"callbacks": [decisions]})
    assert [reason] == decisions.reasons


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("max_retries", [0, 1, 2])
@pytest.mark.parametrize("fault", [Fault.status(429, retry_after=0.001), Fault.status(503, retry_after=0.001)], ids=str)
async def test_a_check_is_repeated_as_often_as_max_retries_says_and_no_more(
    fault: Fault, max_retries: int, run: Run, place: Any
) -> None:
    make, value = place
    scene = Scene(says=UNJUDGED, guard_settings={"max_retries": max_retries})
    scene.provider.fail(fault, on="guard")
    assert DEFAULT_APOLOGY == await run(make(scene), value, {})
    assert 1 + max_retries == len(scene.provider.requests_of("guard"))


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_a_verdict_on_the_last_repetition_is_a_verdict(run: Run, place: Any) -> None:
    make, value = place
    scene = Scene(says=UNJUDGED, guard_settings={"max_retries": 2})
    scene.provider.fail(Fault.status(429, retry_after=0.001), on="guard", first=2)
    assert "".join(UNJUDGED) == await run(make(scene), value, {})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "fault", [Fault.status(401), Fault.status(402), Fault.status(404), Fault.daily_limit()], ids=str
)
async def test_what_cannot_pass_is_not_repeated(fault: Fault, run: Run, place: Any) -> None:
    make, value = place
    scene = Scene(says=UNJUDGED, guard_settings={"max_retries": 2})
    scene.provider.fail(fault, on="guard")
    assert DEFAULT_APOLOGY == await run(make(scene), value, {})
    assert 1 == len(scene.provider.requests_of("guard"))


async def test_the_policy_of_a_stage_holds_for_that_stage_alone(place: Any) -> None:
    make: Any
    make, value = place
    policy = Policy(on_no_verdict="raise", per_stage={"reply": {"on_no_verdict": "allow"}})
    runnable: Runnable[Any, Any] = make(_scene(Fault.status(500), "reply", policy))
    assert "".join(UNJUDGED) == await WAYS["ainvoke"](runnable, value, {})
    with pytest.raises(GuardUnavailable):
        await WAYS["ainvoke"](make(_scene(Fault.status(500), "prompt", policy)), value, {})
