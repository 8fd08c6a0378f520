"""The rules for everything in a request but its messages; each broken rule is told as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .shapes import (
    Check,
    any_of,
    integer_from,
    is_bool,
    is_list,
    is_object,
    is_string,
    is_text,
    list_of,
    matching,
    number_in,
    object_with,
    one_of,
    text_up_to,
)

_NAME = matching(r"[A-Za-z0-9_-]{1,64}")
_EFFORT = one_of("max", "xhigh", "high", "medium", "low", "minimal", "none")
_SLUGS = list_of(matching(r"[a-z0-9][a-z0-9./_-]*"))
_PRICE = any_of(number_in(0, float("inf")), matching(r"\d+(\.\d+)?"))
_PERCENTILES = object_with(dict.fromkeys(("p50", "p75", "p90", "p99"), number_in(0, float("inf"))))
_SORT_BY = one_of("price", "throughput", "latency", "exacto")

_PROVIDER: dict[str, Check] = {
    "order": _SLUGS,
    "only": _SLUGS,
    "ignore": _SLUGS,
    "allow_fallbacks": is_bool,
    "require_parameters": is_bool,
    "data_collection": one_of("allow", "deny"),
    "zdr": is_bool,
    "enforce_distillable_text": is_bool,
    "quantizations": list_of(is_text),
    "sort": any_of(_SORT_BY, object_with({"by": _SORT_BY, "partition": one_of("model", "none")}, required={"by"})),
    "max_price": object_with(dict.fromkeys(("prompt", "completion", "request", "image", "audio"), _PRICE)),
    "preferred_min_throughput": any_of(number_in(0, float("inf")), _PERCENTILES),
    "preferred_max_latency": any_of(number_in(0, float("inf")), _PERCENTILES),
}

_JSON_SCHEMA = object_with(
    {"name": _NAME, "strict": is_bool, "schema": is_object, "description": is_string}, required={"name", "schema"}
)
_RESPONSE_FORMAT = any_of(
    object_with({"type": one_of("text", "json_object")}, required={"type"}),
    object_with({"type": one_of("json_schema"), "json_schema": _JSON_SCHEMA}, required={"type", "json_schema"}),
)


def _takes_an_object(schema: object) -> bool:
    return is_object(schema) and schema.get("type") == "object"


_FUNCTION = object_with(
    {"name": _NAME, "description": is_string, "parameters": _takes_an_object, "strict": is_bool}, required={"name"}
)
_TOOL = object_with({"type": one_of("function"), "function": _FUNCTION}, required={"type", "function"})
_NAMED_TOOL = object_with(
    {"type": one_of("function"), "function": object_with({"name": _NAME}, required={"name"})},
    required={"type", "function"},
)

_FIELDS: dict[str, Check] = {
    "model": matching(r"[~@]?[\w.-]+/[\w.-]+(:[a-z]+)?"),
    "models": list_of(is_text),
    "messages": is_list,
    "stream": is_bool,
    "stream_options": object_with({"include_usage": is_bool}),
    "usage": object_with({"include": is_bool}),
    "temperature": number_in(0, 2),
    "top_p": number_in(0, 1, above_low=True),
    "top_k": integer_from(0),
    "min_p": number_in(0, 1),
    "top_a": number_in(0, 1),
    "frequency_penalty": number_in(-2, 2),
    "presence_penalty": number_in(-2, 2),
    "repetition_penalty": number_in(0, 2, above_low=True),
    "seed": integer_from(-(2**63)),
    "max_tokens": integer_from(1),
    "max_completion_tokens": integer_from(1),
    "stop": any_of(is_text, list_of(is_text, at_most=4)),
    "logit_bias": lambda v: is_object(v) and all(map(number_in(-100, 100), v.values())),
    "logprobs": is_bool,
    "top_logprobs": integer_from(0, 20),
    "response_format": _RESPONSE_FORMAT,
    "structured_outputs": is_bool,
    "tools": list_of(_TOOL),
    "tool_choice": any_of(one_of("none", "auto", "required"), _NAMED_TOOL),
    "parallel_tool_calls": is_bool,
    "prediction": is_object,
    "reasoning": is_object,
    "reasoning_effort": _EFFORT,
    "include_reasoning": is_bool,
    "verbosity": one_of("low", "medium", "high", "xhigh", "max"),
    "modalities": list_of(one_of("text", "image", "audio")),
    "plugins": list_of(lambda v: is_object(v) and is_text(v.get("id"))),
    "provider": object_with(_PROVIDER),
    "route": one_of("fallback", "sort"),
    "service_tier": one_of("auto", "default", "fast", "flex", "priority", "scale"),
    "session_id": text_up_to(256),
    "prompt_cache_key": is_text,
    "user": is_text,
    "metadata": lambda v: (
        is_object(v) and len(v) <= 16 and all(map(text_up_to(64), v)) and all(map(text_up_to(512), v.values()))
    ),
    "trace": is_object,
    "n": integer_from(1, 1),
}


def field_problems(body: dict[str, Any]) -> Iterator[str]:
    """Tell what is wrong with the fields of a request, one by one and together."""
    yield from (f"{name} is required" for name in ("model", "messages") if name not in body)
    for name, value in body.items():
        if name not in _FIELDS:
            yield f"unknown field: {name}"
        elif value is None:
            yield f"{name} is null: an unset field is left out"
        elif not _FIELDS[name](value):
            yield f"{name} is not what the API takes: {_outline(value)}"
    yield from _tool_problems(body)
    if "top_logprobs" in body and body.get("logprobs") is not True:
        yield "top_logprobs needs logprobs"


def _tool_problems(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools")
    if not list_of(_TOOL)(tools):
        yield from (f"{name} without tools" for name in ("tool_choice", "parallel_tool_calls") if name in body)
        return
    names = [tool["function"]["name"] for tool in tools or ()]
    if len(set(names)) < len(names):
        yield "two tools have one name"
    choice = body.get("tool_choice")
    if _NAMED_TOOL(choice) and choice is not None and choice["function"]["name"] not in names:
        yield "tool_choice names a tool that is not there"


def _outline(value: object) -> str:
    """Describe a value by its keys and types: what was said in it is nobody's business."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_outline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_outline, value)) + "]"
    return repr(value) if isinstance(value, int | float | None) else type(value).__name__
