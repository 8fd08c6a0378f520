"""OpenRouter's Batch API as it stands on the wire: what is submitted, and what is not fit to be.

Sources: OpenRouter's "Batch API Quickstart" and its reference of the API, and the types of its Python SDK, read in
November 2026. No job was ever sent to a real host by this project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_guard_core.errors import ConfigurationError, ProviderError
from llama_guard_core.provider.retry_policy import RetryPolicy
from llama_guard_core.provider.wire import as_dict, dicts_in

CHAT_COMPLETIONS = "/v1/chat/completions"
"""The word for the endpoint that each request of a job is for."""

_NOT_TEXT = frozenset({"image", "image_url", "input_audio", "audio", "video", "video_url", "file", "document"})
_NOT_IN_A_BATCH = ("models", "route", "stream", "stream_options")
_ROUTING = frozenset({"only", "allow_fallbacks"})
_NOT_TAKEN = frozenset(range(400, 500)) - {408}


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a job.

    Attributes:
        custom_id: what its result is found by; no two of a job have the same.
        body: the JSON of a chat completion. Its model is the job's.
    """

    custom_id: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OnlyWhatWasNotTaken(RetryPolicy):
    """Repeats a submission only where the host surely has not taken it: twice submitted is twice paid."""

    def wait_before_retry(self, attempt: int, error: ProviderError, jitter: float) -> float | None:
        """Seconds to wait before the next attempt, or None to stop; see `RetryPolicy`."""
        return None if may_have_been_taken(error) else RetryPolicy.wait_before_retry(self, attempt, error, jitter)


def may_have_been_taken(error: ProviderError) -> bool:
    """Whether a submission that failed so may be on its way all the same, as after a timeout or a cut connection."""
    was_never_sent = error.reason == "connection" and error.status is None
    return not was_never_sent and error.status not in _NOT_TAKEN


def chat_requests(chats: Mapping[str, Sequence[Mapping[str, Any]]], **settings: Any) -> list[BatchRequest]:
    """Chats as the requests of a job.

    Args:
        chats: the messages of each, in OpenAI's form, by the `custom_id` that its reply will be found by.
        **settings: further fields of each request, such as `max_tokens` and `tools`.
    """
    return [BatchRequest(name, {"messages": list(messages), **settings}) for name, messages in chats.items()]


def job_body(requests: Sequence[BatchRequest], model: str) -> dict[str, Any]:
    """The JSON of a job. The host reads it as it comes: `endpoint` and `model` must stand before `requests`.

    A routing of OpenRouter's providers, which must be the same in all requests, moves to the job, where it belongs.

    Args:
        requests: at least one.
        model: the model as the host lists it for batches.

    Raises:
        ConfigurationError: if this is no job the host would take; nothing of it is quoted.
    """
    if not requests:
        msg = "a batch needs at least one request"
        raise ConfigurationError(msg)
    twice = [custom_id for custom_id, times in Counter(each.custom_id for each in requests).items() if times > 1]
    if twice or not all(each.custom_id for each in requests):
        msg = f"each request of a batch needs a custom_id of its own; {len(twice)} stand for several"
        raise ConfigurationError(msg)
    for request in requests:
        if problem := why_not_in_a_batch(request.body):
            msg = f"request {request.custom_id!r} cannot be sent in a batch: {problem}"
            raise ConfigurationError(msg)
    routings = [each.body.get("provider") for each in requests]
    if any(routing != routings[0] for routing in routings):
        msg = "provider: all requests of a batch go by one routing"
        raise ConfigurationError(msg)
    routing = {"provider": routings[0]} if routings[0] else {}
    bodies = [{"custom_id": each.custom_id, "body": _as_in_a_job(each.body, model)} for each in requests]
    return {"endpoint": CHAT_COMPLETIONS, "model": model, **routing, "requests": bodies}


def why_not_in_a_batch(body: Mapping[str, Any]) -> str | None:
    """Why a request cannot be sent in a batch; `None` if it can."""
    messages = body.get("messages")
    if not isinstance(messages, (list, tuple)) or not all(isinstance(message, Mapping) for message in messages):
        return "it is no chat completion (it has no messages)"
    if not is_text_only(body):
        return "batches take text only, and it holds an image or a file"
    if named := [name for name in _NOT_IN_A_BATCH if body.get(name)]:
        return f"a batch does not take {', '.join(named)}"
    routing = body.get("provider") or {}
    if not_taken := sorted(set(routing) - _ROUTING):
        return f"of a routing, a batch takes only and allow_fallbacks, not {', '.join(not_taken)}"
    return None


def is_text_only(body: Mapping[str, Any]) -> bool:
    """Whether all that a request says is text."""
    contents = (as_dict(message).get("content") for message in body.get("messages") or ())
    return not any(part.get("type") in _NOT_TEXT for content in contents for part in dicts_in(content))


def _as_in_a_job(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    return {"model": model} | {name: value for name, value in body.items() if name not in ("model", "provider")}
