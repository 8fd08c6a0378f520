"""The chat-completions JSON, read tolerantly.

Unknown keys are ignored, nulls are welcome anywhere, and errors are found wherever they hide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_guard_core.errors import ProviderError
from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.failures import error_in, failure, failure_from_error
from llama_guard_core.provider.json_text import is_truncated_json, parse_json, says_twice
from llama_guard_core.provider.tool_arguments import arguments_of, is_json, split_objects
from llama_guard_core.usage import Usage
from llama_guard_core.written import printable

_CUT_TOOL_CALL = "the reply reached max_tokens inside a tool call"
_NO_ROOM = "max_tokens was reached before any text"
_RAISE_LIMIT = "Raise max_tokens."
_SAID_ONCE = ("choices", "message", "content", "finish_reason")
_LARGEST_COUNT = 2**63 - 1  # what is larger counts nothing, and many programs cannot hold it


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply. Its words are in no `repr`.

    Attributes:
        text: the answer; reasoning is never part of it.
        tool_calls: the calls the model asks for, whatever the finish reason.
        finish_reason: the host's word, which may be one that no documentation lists, or None.
        native_finish_reason: the provider's own word behind a router.
        refusal: the model's refusal, where the host keeps it apart from the text.
        reasoning: what the model thought, where the host shows it.
        reasoning_details: the same in the provider's blocks, to be sent back unchanged.
        usage: tokens and price.
        id: to look the call up by.
        model: the model that answered, often another spelling of the one that was asked.
        provider: the display name of the provider behind a router (not its slug).
        created: seconds since the epoch.
        system_fingerprint: the host's word for its configuration.
        service_tier: the tier the call was served in.
        logprobs: `{"content": [...]}` as the host sent it, even unasked.
        annotations: citations and parsed files, as the host sent them.
        alternatives: how many further choices came with this one.
    """

    text: str = field(default="", repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    refusal: str | None = field(default=None, repr=False)
    reasoning: str | None = field(default=None, repr=False)
    reasoning_details: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    provider: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    logprobs: Mapping[str, Any] | None = field(default=None, repr=False)
    annotations: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    alternatives: int = 0


def read_completion(
    body: bytes, *, now: float | None = None, as_chat: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Completion:
    """Read the body of a 2xx answer.

    Of several choices (`n` above 1) the one with index 0 is read.

    Args:
        body: the bytes, keep-alive padding included.
        now: seconds since the epoch, to read dates in retry hints by.
        as_chat: turns the JSON of another endpoint into that of a chat completion.

    Raises:
        ProviderError: of the fitting class, if the body holds an error, nothing, only a part, or something else than
            a completion.
    """
    payload = _payload(body)
    if as_chat is not None and not error_in(payload):
        payload = as_chat(payload)
    nested = payload.get("provider")
    if isinstance(nested, dict) and not payload.get("choices"):
        payload = nested
    choice = first_choice(payload) or {}
    message = as_dict(choice.get("message"))
    text = text_of(message.get("content"))
    error = error_in(payload) or choice.get("error")
    if error:
        raise error_of(payload, error, (text, text_or_none(message.get("reasoning")) or ""), now)
    if "choices" not in payload:
        raise failure(reason="malformed", said="it has no choices", generation_id=text_or_none(payload.get("id")))
    completion = Completion(
        text=text,
        tool_calls=_tool_calls(message.get("tool_calls")),
        finish_reason=label_or_none(choice.get("finish_reason")),
        native_finish_reason=label_or_none(choice.get("native_finish_reason")),
        refusal=text_or_none(message.get("refusal")),
        reasoning=reasoning_of(message),
        reasoning_details=dicts_in(message.get("reasoning_details")),
        usage=read_usage(payload.get("usage")),
        logprobs=choice["logprobs"] if isinstance(choice.get("logprobs"), dict) else None,
        annotations=dicts_in(message.get("annotations")),
        alternatives=max(0, len(payload["choices"]) - 1) if isinstance(payload["choices"], list) else 0,
        **identity_of(payload),
    )
    return checked(completion)


def checked(completion: Completion) -> Completion:
    """The same reply, if it is one that can be acted on.

    Raises:
        ProviderUnavailable: if it says nothing at all (reason `empty`). It is worth another try unless the token
            limit was the cause.
        RequestRejected: if the content filter took everything, or the token limit cut a tool call in two. A call
            whose arguments are invalid JSON for another reason is handed out as the model wrote it.
        UnexpectedResponse: if a tool call has no name.
    """
    facts: dict[str, Any] = {"generation_id": completion.id, "provider_name": completion.provider}
    if any(not call.name for call in completion.tool_calls):
        raise failure(reason="malformed", said="a tool call in it has no name", **facts)
    if completion.finish_reason == "length" and not all(is_json(call.arguments) for call in completion.tool_calls):
        raise failure(reason="invalid_request", said=_CUT_TOOL_CALL, advice=_RAISE_LIMIT, **facts)
    if completion.text.strip() or completion.tool_calls or completion.refusal or _thought(completion):
        return completion
    raise _emptiness(completion, facts)


def _thought(completion: Completion) -> bool:
    return bool((completion.reasoning or "").strip() or completion.reasoning_details)


def _emptiness(completion: Completion, facts: Mapping[str, Any]) -> ProviderError:
    if completion.finish_reason == "content_filter":
        return failure(reason="permission", said="its content filter withheld the whole reply", **facts)
    if completion.finish_reason == "length":
        return failure(reason="empty", said=_NO_ROOM, advice=_RAISE_LIMIT, retryable=False, **facts)
    return failure(reason="empty", **facts)


def _payload(body: bytes) -> dict[str, Any]:
    stripped = body.strip()
    if not stripped:
        if body:
            raise failure(reason="cut", said="nothing came but keep-alive padding")
        raise failure(reason="empty")
    try:
        payload = parse_json(stripped)
    except ValueError:
        payload = None
    if isinstance(payload, dict):
        if says_twice(stripped, _SAID_ONCE):
            raise failure(reason="malformed", said="it says the same field twice")
        return payload
    if stripped[:1] == b"{" and is_truncated_json(stripped):
        raise failure(reason="cut", said="its JSON has no end")
    raise failure(reason="malformed", said="it is a web page" if stripped[:1] == b"<" else "it is no JSON object")


def error_of(
    payload: Mapping[str, Any], error: object, private_texts: Sequence[str], now: float | None
) -> ProviderError:
    """The typed error for an error object found inside a 2xx body or chunk."""
    return failure_from_error(
        error,
        generation_id=text_or_none(payload.get("id")),
        provider_name=text_or_none(payload.get("provider")),
        private_texts=private_texts,
        now=now,
    )


def identity_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Who answered: the fields of `Completion` at the top of a body or chunk, None where they are missing."""
    created = payload.get("created")
    return {
        "id": label_or_none(payload.get("id")),
        "model": label_or_none(payload.get("model")),
        "provider": label_or_none(payload.get("provider")),
        "created": _count(created) if isinstance(created, (int, float)) else None,
        "system_fingerprint": label_or_none(payload.get("system_fingerprint")),
        "service_tier": label_or_none(payload.get("service_tier")),
    }


def first_choice(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """The choice with index 0, or the only one without an index."""
    choices = payload.get("choices")
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


def read_usage(usage: object) -> Usage | None:
    """Token counts and price, in the notations of OpenRouter and its kin."""
    if not isinstance(usage, dict) or not usage:
        return None
    prompt, completion = as_dict(usage.get("prompt_tokens_details")), as_dict(usage.get("completion_tokens_details"))
    read, written = _count(usage.get("prompt_tokens")) or 0, _count(usage.get("completion_tokens")) or 0
    cached = prompt.get("cached_tokens")
    reasoned = completion.get("reasoning_tokens")
    return Usage(
        input_tokens=read,
        output_tokens=written,
        total_tokens=_count(usage.get("total_tokens")) or read + written,
        cached_tokens=_count(usage.get("cached_tokens") if cached is None else cached),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=_count(usage.get("reasoning_tokens") if reasoned is None else reasoned),
        cost=_price(usage.get("cost")),
    )


def text_of(content: object) -> str:
    """Content as a string, also where it comes as a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part if isinstance(part, str) else as_dict(part).get("text") for part in content)
    return "".join(text for text in texts if isinstance(text, str))


def text_or_none(value: object) -> str | None:
    """The string, if it is one and not empty."""
    return value if isinstance(value, str) and value else None


def label_or_none(value: object) -> str | None:
    """A host's name for something, which ends up in logs and on terminals: without what acts on one."""
    return printable(value) if isinstance(value, str) and value else None


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """What the model thought, under either of the two names in use."""
    return text_or_none(message.get("reasoning")) or text_or_none(message.get("reasoning_content"))


def as_dict(value: object) -> dict[str, Any]:
    """The dict, or an empty one where something else stands in its place."""
    return value if isinstance(value, dict) else {}


def dicts_in(value: object) -> tuple[dict[str, Any], ...]:
    """The dicts of a list, or nothing."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _tool_calls(calls: object) -> tuple[ToolCall, ...]:
    found = []
    for call in dicts_in(calls):
        function = as_dict(call.get("function"))
        name = text_or_none(function.get("name")) or ""
        for position, arguments in enumerate(split_objects(arguments_of(function))):
            call_id = "" if position else text_or_none(call.get("id")) or ""
            found.append(ToolCall(call_id, name, arguments if arguments.strip() else "{}"))
    return tuple(found)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= _LARGEST_COUNT else 0 if value < 0 else None


def _price(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return None
    return price if math.isfinite(price) else None
