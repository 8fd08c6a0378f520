"""The endpoints a host can be asked at, and how the replies of each are read: all as the same `Completion`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.wire import Completion, dicts_in, read_completion

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Endpoint(Generic[T]):
    """Where something is asked, and how the reply is read.

    Attributes:
        path: what is appended to the host's base address; one that begins with a slash stands beside it.
        reads: from the body of a 2xx reply, and seconds since the epoch, to what it says. Raises `ProviderError`.
        method: the HTTP method; `None`: POST with a request, GET without.
    """

    path: str
    reads: Callable[..., T]
    method: Literal["DELETE", "POST"] | None = None

    def read(self, body: bytes, now: float) -> T:
        """What the body of a 2xx reply says.

        Raises:
            ProviderError: if it says nothing that can be used.
        """
        return self.reads(body, now=now)


def _from_text(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A raw completion: its text stands where a chat's message would."""
    if "choices" not in payload:
        return dict(payload)
    choices = [{**choice, "message": {"content": choice.get("text")}} for choice in dicts_in(payload["choices"])]
    return {**payload, "choices": choices}


def _from_ollama(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Ollama's own raw completion (`/api/generate`)."""
    if payload.get("done") is False:
        raise failure(reason="cut", said="it says itself that it is not done")
    if not isinstance(payload.get("response"), str):
        return dict(payload)
    choice = {
        "message": {"content": payload["response"]},
        "finish_reason": payload.get("done_reason"),
        "logprobs": {"content": payload.get("logprobs")} if payload.get("logprobs") else None,
    }
    counts = {"prompt_tokens": payload.get("prompt_eval_count"), "completion_tokens": payload.get("eval_count")}
    return {"model": payload.get("model"), "choices": [choice], "usage": counts}


def _from_moderation(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Meta's moderation: flags and slugs, as the JSON verdict of Llama Guard that they stand for.

    Its documentation does not say whether there is a result for each message or one for all: any flag counts.
    """
    told = payload.get("results")
    results = dicts_in(told)
    is_whole = isinstance(told, list) and 0 < len(told) == len(results)
    if not is_whole or not all(isinstance(result.get("flagged"), bool) for result in results):
        raise failure(reason="malformed", said="a moderation without flags")
    # Those of a result that is not flagged, too: what is safe and names a hazard is no verdict.
    slugs = [slug for result in results for slug in _slugs_in(result)]
    verdict = {"safe": not any(result["flagged"] for result in results), "categories": slugs}
    message = {"content": json.dumps(verdict)}
    return {**payload, "choices": [{"message": message, "finish_reason": "stop"}]}


def _slugs_in(result: Mapping[str, Any]) -> list[Any]:
    """The hazards that a result names; something that is none where it is flagged and names no hazard."""
    slugs = result.get("flagged_categories")
    named = slugs if isinstance(slugs, list) else [slugs] if slugs else []
    return named or (["unnamed"] if result["flagged"] else [])


CHAT: Endpoint[Completion] = Endpoint("chat/completions", read_completion)
COMPLETIONS: Endpoint[Completion] = Endpoint("completions", partial(read_completion, as_chat=_from_text))
OLLAMA_GENERATE: Endpoint[Completion] = Endpoint("/api/generate", partial(read_completion, as_chat=_from_ollama))
MODERATIONS: Endpoint[Completion] = Endpoint("/v1/moderations", partial(read_completion, as_chat=_from_moderation))
