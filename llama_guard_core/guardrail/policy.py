"""What is judged, what follows from a verdict, and what follows when none can be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.decisions import Allow, Decision, Raise, Refuse, strictest, unsafe_content
from llama_guard_core.guardrail.hazards import HazardAction, HazardCategory, HazardNames, Hazards, Taxonomy, Thresholds
from llama_guard_core.guardrail.stream_windows import Streaming, StreamingLike
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.written import printable

V = TypeVar("V")

Mode = Literal["enforce", "monitor"]
OnUnsafe = Literal["refuse", "raise"]
OnNoVerdict = Literal["refuse", "raise", "allow"]
PromptCheck = Literal["before", "parallel"]
Refusal = str | Callable[[Verdict], str]

DEFAULT_REFUSAL = "I can't help with that."
DEFAULT_APOLOGY = "I can't answer right now: a safety check could not be completed. Please try again later."


class StageRules(BaseModel):
    """What a policy says differently for one stage. Whatever is left out is as in the policy.

    Attributes:
        hazards: what follows per hazard at this stage, merged over the policy's own.
        thresholds: the scores that hazards need at this stage, merged likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    hazards: Hazards = Field(default_factory=dict)
    thresholds: Thresholds = Field(default_factory=dict)
    mode: Mode | None = None
    refusal: Refusal | None = None
    apology: str | None = None
    on_unsafe: OnUnsafe | None = None
    on_no_verdict: OnNoVerdict | None = None


class Policy(BaseModel):
    """What is judged and what follows. Frozen, checked as a whole when made.

    Attributes:
        stages: what is judged: `prompt`, `reply`, `tool_call`, `tool_result`, `document`.
        hazards: per hazard, by code (`"S6"`) or name, what follows when it is named: `block`; `flag`, which
            lets the text pass and says so in the decision; `ignore`. A hazard that is not listed is blocked.
            So is an `unsafe` that names no hazard or one this version does not define: what the guard did
            not say cannot be excused. S6 (Specialized Advice) flags ordinary medical, legal and financial
            answers; applications about these usually set it to `flag`.
        thresholds: per hazard, the score from which on it is blocked, 0 to 1. Below it the text passes, and the
            hazard is flagged. The score is that of the whole verdict, `unsafe` against `safe`, since Llama Guard
            tells none for each hazard, and is not calibrated: choose it on data of your own. Where a host gives no
            score, the hazard is blocked as without a threshold.
        excluded_categories: hazards that the guard is not asked about, by code or name. They are left out of its prompt
            where the host allows it (`LlamaGuard` says where), and of its answer elsewhere. The two differ: a guard
            that is not asked about one hazard may name another for the same text.
        custom_categories: hazards of your own, asked about one by one; see `CustomCategory`.
        mode: `enforce`, or `monitor`: everything passes, and the decision says what enforce would have done.
            Text that could not be judged passes too.
        refusal: what is shown in place of unsafe text: a sentence, or a function from the verdict to one.
        apology: what is shown where no verdict could be had.
        on_unsafe: `refuse`, or `raise` an `UnsafeContent`.
        on_no_verdict: `refuse`, `raise` a `GuardUnavailable`, or `allow`, which shows unjudged text whenever
            the guard is down.
        per_stage: what differs for a stage.
        streaming: how a streamed reply is held: `"window"`, `"whole"`, `"optimistic"`, or a `Streaming` that says more.
        prompt_check: `before` the model is called, or `parallel`: the model's call starts with the check, what it says
            and calls is held until the verdict, and an unsafe prompt cancels it. An unsafe prompt then reaches the
            model's host, and what a chain or an engine does on the way to its model has begun. Sync code has
            nothing to run the two side by side with, and checks first.

    Example:
        ```python
        Policy(hazards={"S6": "flag"}, per_stage={"reply": {"on_no_verdict": "raise"}})
        ```
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    stages: frozenset[Stage] = Field(default=frozenset(Stage), min_length=1)
    hazards: Hazards = Field(default_factory=dict)
    thresholds: Thresholds = Field(default_factory=dict)
    excluded_categories: HazardNames = ()
    custom_categories: tuple[CustomCategory, ...] = ()
    mode: Mode = "enforce"
    refusal: Refusal = DEFAULT_REFUSAL
    apology: str = DEFAULT_APOLOGY
    on_unsafe: OnUnsafe = "refuse"
    on_no_verdict: OnNoVerdict = "refuse"
    per_stage: Mapping[Stage, StageRules] = Field(default_factory=dict)
    streaming: StreamingLike = Field(default=Streaming())
    prompt_check: PromptCheck = "before"

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Policy:
        """A policy from settings read from JSON, YAML, TOML or a dict.

        Raises:
            ConfigurationError: naming each field that is wrong, and what it may be.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise ConfigurationError(_named(error)) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Policy:
        """A policy from a JSON text.

        Raises:
            ConfigurationError: naming each field that is wrong, and what it may be.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigurationError(_named(error)) from None

    def check_against(self, taxonomy: Taxonomy) -> None:
        """Refuse a policy about hazards that the guard will never name.

        Raises:
            ConfigurationError: naming the hazard and the version that lacks it.
        """
        for hazard in self.hazards_named:
            if not taxonomy.defines(hazard):
                known = ", ".join(category.code for category in taxonomy.categories)
                msg = f"hazards: Llama Guard {taxonomy.version} as asked here has no {hazard!r}; it has {known}"
                raise ConfigurationError(msg)

    @property
    def hazards_named(self) -> tuple[str, ...]:
        """The hazards that it says something about, each by the code or the name it is written with."""
        rules: list[Policy | StageRules] = [self, *self.per_stage.values()]
        named = (hazard for rule in rules for hazard in (*rule.hazards, *rule.thresholds))
        return tuple(dict.fromkeys((*named, *self.excluded_categories)))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The same in every process, although sets are not: the text is part of what caches look answers up by."""
        for name, value in super().__repr_args__():
            yield name, sorted(value) if name == "stages" else value

    def judges(self, stage: Stage) -> bool:
        """Whether this stage is judged at all."""
        return stage in self.stages

    def decide(self, verdict: Verdict, *, also: Sequence[Stage] = ()) -> Decision:
        """What follows from a verdict.

        Args:
            verdict: what the guard said.
            also: further stages the judged text belongs to; the strictest decision holds.
        """
        others = (self._decided(replace(verdict, stage=stage)) for stage in also)
        return strictest([self._decided(verdict), *others])

    def without_verdict(self, stage: Stage, error: GuardUnavailable, *, also: Sequence[Stage] = ()) -> Decision:
        """What follows when no verdict could be had.

        Args:
            stage: what was to be judged.
            error: why it could not be.
            also: further stages the text belongs to; the strictest decision holds.
        """
        return strictest([self._undecided(each, error) for each in (stage, *also)])

    def _decided(self, verdict: Verdict) -> Decision:
        if verdict.safe:
            return Allow(verdict.stage, verdict)
        rules = self._rules(verdict.stage)
        actions = {category: rules.action(category, verdict.score) for category in verdict.categories}
        flagged = tuple(category for category, action in actions.items() if action == "flag")
        if actions and verdict.all_named and "block" not in actions.values():
            return Allow(verdict.stage, verdict, flagged)
        if rules.mode == "monitor":
            return Allow(verdict.stage, verdict, flagged, overruled=True)
        text = rules.refusal if isinstance(rules.refusal, str) else rules.refusal(verdict)
        if rules.on_unsafe == "refuse":
            return Refuse(verdict.stage, text, verdict)
        return Raise(verdict.stage, unsafe_content(verdict, text))

    def _undecided(self, stage: Stage, error: GuardUnavailable) -> Decision:
        rules = self._rules(stage)
        if rules.mode == "monitor" or rules.on_no_verdict == "allow":
            return Allow(stage, error=error, overruled=rules.on_no_verdict != "allow")
        return Raise(stage, error) if rules.on_no_verdict == "raise" else Refuse(stage, rules.apology, error=error)

    def _rules(self, stage: Stage) -> _Rules:
        own = self.per_stage.get(stage) or StageRules()
        return _Rules(
            mode=own.mode or self.mode,
            refusal=self.refusal if own.refusal is None else own.refusal,
            apology=self.apology if own.apology is None else own.apology,
            on_unsafe=own.on_unsafe or self.on_unsafe,
            on_no_verdict=own.on_no_verdict or self.on_no_verdict,
            hazards=(own.hazards, self.hazards, {custom.name: custom.action for custom in self.custom_categories}),
            thresholds=(own.thresholds, self.thresholds),
        )


@dataclass(frozen=True, slots=True)
class _Rules:
    """A policy as it applies to one stage."""

    mode: Mode
    refusal: Refusal
    apology: str
    on_unsafe: OnUnsafe
    on_no_verdict: OnNoVerdict
    hazards: tuple[Mapping[str, HazardAction], ...]
    thresholds: tuple[Mapping[str, float], ...]

    def action(self, category: HazardCategory, score: float | None) -> HazardAction:
        told = _told(category, self.hazards) or "block"
        threshold = _told(category, self.thresholds)
        is_below = threshold is not None and score is not None and score < threshold
        return "flag" if told == "block" and is_below else told


def _told(category: HazardCategory, settings: Sequence[Mapping[str, V]]) -> V | None:
    """What the first of several settings says about a hazard, by its code or its name."""
    words = (category.code, category.name) if category.known else ()
    return next((setting[word] for setting in settings for word in words if word in setting), None)


def _named(error: ValidationError) -> str:
    lines = (f"{'.'.join(map(str, e['loc'])) or 'policy'}: {e['msg']}" for e in error.errors(include_input=False))
    return printable("this policy cannot be used: " + "; ".join(lines))
