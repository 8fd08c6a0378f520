"""Llama Guard's answer, read tolerantly and decided strictly.

What counts as an answer: `safe` alone; or `unsafe` first, whatever follows. Everything else, an empty
answer, prose, `safe` with something behind it, a cut answer, is no verdict, and no verdict is never safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NoReturn

from llama_guard_core.errors import UnreadableVerdict
from llama_guard_core.guardrail.hazards import HazardCategory, Taxonomy
from llama_guard_core.usage import Usage, sum_of


class Stage(str, Enum):
    """What is judged."""

    PROMPT = "prompt"
    REPLY = "reply"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Llama Guard said of one text in its conversation.

    It has no truth value: `if verdict:` raises, because "there is a verdict" and "it is safe" are too
    easily taken for one another. Ask `verdict.safe`.

    Attributes:
        safe: whether the guard said `safe`. It is the opinion of a classifier with known misses
            (Meta's card for Llama Guard 4 gives 69 % recall in English), not a proof.
        categories: the hazards it named, in its order. May be empty although unsafe.
        stage: what was judged.
        all_named: false where the list of hazards may be incomplete: a bare `unsafe`, an answer that
            was cut after the verdict, or one that holds more than codes.
        score: the probability of `unsafe`, 0 to 1, where the host gives log-probabilities; else `None`.
        model: the model that answered, as the host names it.
        provider: the provider behind the router, where it is named.
        host: the host that was asked; of a list of hosts, the one that answered.
        excluded: hazards that were named and that the policy does not ask about: they count for nothing. Where they
            were all that was named, the verdict is safe.
        usage: tokens and cost of the question.
        latency: seconds from question to verdict, retries included; `None` for a cached verdict.
        cached: whether an earlier verdict was used again.
        generation_id: the id to look the call up by at the host.
        answer: the guard's raw answer.
    """

    safe: bool
    categories: tuple[HazardCategory, ...] = ()
    stage: Stage = Stage.PROMPT
    all_named: bool = True
    score: float | None = None
    model: str | None = None
    provider: str | None = None
    host: str | None = None
    excluded: tuple[HazardCategory, ...] = ()
    usage: Usage | None = None
    latency: float | None = None
    cached: bool = False
    generation_id: str | None = None
    answer: str = field(default="", repr=False)

    def __bool__(self) -> NoReturn:
        msg = "a Verdict has no truth value; ask verdict.safe"
        raise TypeError(msg)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain JSON values, without the guard's raw answer."""
        return {
            "safe": self.safe,
            "stage": self.stage.value,
            "categories": [{"code": c.code, "name": c.name} for c in self.categories],
            "all_named": self.all_named,
            "score": self.score,
            "model": self.model,
            "provider": self.provider,
            "host": self.host,
            "excluded": [category.code for category in self.excluded],
            "tokens": self.usage.total_tokens if self.usage else None,
            "cost": self.usage.cost if self.usage else None,
            "latency": self.latency,
            "cached": self.cached,
            "generation_id": self.generation_id,
        }


def worst_of(answers: Sequence[Verdict | Exception]) -> Verdict:
    """What verdicts on the chunks of one text say together: any unsafe one wins, then any failure.

    Beside a failure its list of hazards may be incomplete: no policy may excuse it for those that were named.

    Args:
        answers: the verdicts on the chunks in order; an exception where none could be had.

    Raises:
        Exception: the first of those among the answers, if no chunk is unsafe.
    """
    if len(answers) == 1 and isinstance(answers[0], Verdict):
        return answers[0]
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    unsafe = [verdict for verdict in verdicts if not verdict.safe]
    for answer in answers:
        if isinstance(answer, Exception) and not unsafe:
            raise answer
    decisive = unsafe[0] if unsafe else verdicts[0]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    return replace(
        decisive,
        categories=tuple(dict.fromkeys(category for verdict in unsafe for category in verdict.categories)),
        all_named=all(verdict.all_named for verdict in unsafe) and len(verdicts) == len(answers),
        excluded=tuple(dict.fromkeys(category for verdict in verdicts for category in verdict.excluded)),
        score=max(scores, default=None),
        usage=sum_of([verdict.usage for verdict in verdicts if verdict.usage]),
    )


# ASCII only, on purpose: with Unicode rules the long s (U+017F) would match "s".
_BLANK = " \t\r\n"
_DECORATION = _BLANK + "*_`\"'"
# What ends a turn or a text in Llama 3, Llama 4 and ChatML, and no other token: `<|unsafe|>` says something.
_SPECIAL_TOKEN = re.compile(
    r"<\|(?:eot|eom|end_of_text|end_of_turn|endoftext|im_end|end|finetune_right_pad)(?:_id)?\|>", re.ASCII
)
_MOST_TRAILING_TOKENS = 8
_UNSAFE = re.compile(r"unsafe(?![a-z0-9])", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"(?<![a-z0-9])([so]\d{1,2})(?![a-z0-9])", re.ASCII | re.IGNORECASE)
_SEPARATORS = _DECORATION + ",;:.-[]"
_ENDED = ("stop", None)


def read_verdict(
    answer: str, *, taxonomy: Taxonomy, stage: Stage = Stage.PROMPT, finish_reason: str | None = "stop"
) -> Verdict:
    """Read what Llama Guard answered.

    Args:
        answer: the text of its reply.
        taxonomy: the hazards of the version that was asked.
        stage: what was judged.
        finish_reason: why the answer ended. An answer that was cut short can say `unsafe`, never `safe`.

    Raises:
        UnreadableVerdict: if it is not a verdict. The message describes the answer and never quotes it:
            a wrongly set up host echoes the judged text in place of a verdict.
    """
    text = _without_trailing_tokens(answer).strip(_DECORATION)
    if text.startswith("{"):
        text = _from_json(text, taxonomy)
    if _UNSAFE.match(text):
        named = text[len("unsafe") :]
        codes = dict.fromkeys(code.upper() for code in _CODE.findall(named))
        categories = tuple(taxonomy.category(code) for code in codes)
        # Anything but codes may name a hazard that was not understood, and that no policy can excuse.
        complete = bool(codes) and not _CODE.sub("", named).strip(_SEPARATORS) and finish_reason in _ENDED
        return Verdict(safe=False, categories=categories, stage=stage, all_named=complete, answer=answer)
    if text.rstrip(".").lower() == "safe" and finish_reason in _ENDED:
        return Verdict(safe=True, stage=stage, answer=answer)
    raise UnreadableVerdict(_describe(text, finish_reason), stage=stage)


def _without_trailing_tokens(answer: str) -> str:
    """The answer without `<|eot|>` and the like, which some hosts leave at its end."""
    text = answer.strip(_BLANK)
    for _ in range(_MOST_TRAILING_TOKENS):
        start = text.rfind("<|")
        if start < 0 or not _SPECIAL_TOKEN.fullmatch(text, start):
            break
        text = text[:start].rstrip(_BLANK)
    return text


def without_excluded(verdict: Verdict, excluded: Sequence[str]) -> Verdict:
    """A verdict without the hazards that were not asked about; safe, if it named no others.

    Args:
        verdict: what the guard said.
        excluded: the hazards, by code or name.
    """
    counted = [category for category in verdict.categories if not {category.code, category.name}.intersection(excluded)]
    if verdict.safe or len(counted) == len(verdict.categories):
        return verdict
    left_out = tuple(category for category in verdict.categories if category not in counted)
    # An `unsafe` whose list may be incomplete could be about any hazard.
    is_safe = not counted and verdict.all_named
    return replace(verdict, safe=is_safe, categories=tuple(counted), excluded=left_out)


def _from_json(text: str, taxonomy: Taxonomy) -> str:
    """A JSON verdict (Cloudflare's JSON mode, Meta's moderation) in Llama Guard's own words; other text as it was."""
    try:
        match json.loads(text, object_pairs_hook=_said_once):
            case {"safe": True, **rest} if rest in _NOTHING_BESIDE:
                return "safe"
            case {"safe": False, **rest}:
                codes = rest.pop("categories", None)
                named = [*(codes if isinstance(codes, list) else []), *(f"also {it}" for it in rest.values() if it)]
                return "unsafe\n" + ",".join(_as_code(str(each), taxonomy) for each in named)
    except (ValueError, RecursionError):
        pass
    return text


_NOTHING_BESIDE: Sequence[Mapping[str, Any]] = ({}, {"categories": []}, {"categories": None})


def _as_code(named: str, taxonomy: Taxonomy) -> str:
    """A hazard's code where it is named by its slug; a word that is none, where nothing is named."""
    return taxonomy.code_of_slug(named) or (named if named.strip(_SEPARATORS) else "unnamed")


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that says nothing twice: of `safe` being false and true, Python's reader would keep the last."""
    said = dict(pairs)
    if len(said) < len(pairs):
        msg = "an object has a name twice"
        raise ValueError(msg)
    return said


def _describe(text: str, finish_reason: str | None) -> str:
    if finish_reason not in _ENDED:
        return f"the guard's answer ended early (finish reason {finish_reason!r}) without a verdict"
    if not text:
        return "the guard answered nothing"
    if text[:4].lower() == "safe":
        return "the guard said safe and went on; that is no verdict"
    return (
        f"the guard answered {len(text)} characters of something other than a verdict: is the model behind this "
        "host a Llama Guard, and does the host apply its prompt?"
    )
