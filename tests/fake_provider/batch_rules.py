"""The rules for a submission to the Batch API, as its guide has them; each broken rule is told as one sentence."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

_ENDPOINTS = {"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"}
_FIELDS = {"endpoint", "model", "completion_window", "provider", "requests", "callback_url"}
_TEXT_PARTS = {"text"}
_ROUTING = {"only", "allow_fallbacks"}


def submission_problems(content: bytes, offered: Collection[str]) -> list[str]:
    """Tell what is wrong with the bytes of a submission.

    Args:
        content: the body, in the order it was sent: the API reads it as it comes.
        offered: the ids of the models that are listed for batches. That a base id is refused is said by one client
            that was tried against the real API in August 2026; the SDK's examples use base ids.
    """
    try:
        pairs = json.loads(content, object_pairs_hook=list)
        body = json.loads(content)
    except ValueError:
        return ["the body is not JSON"]
    if not isinstance(body, dict):
        return ["the body is not a JSON object"]
    return [*_top_problems([name for name, _ in pairs], body, offered), *_request_problems(body)]


def _top_problems(names: list[str], body: dict[str, Any], offered: Collection[str]) -> Iterator[str]:
    yield from (f"unknown field: {name}" for name in names if name not in _FIELDS)
    before = names[: names.index("requests")] if "requests" in names else names
    if not {"endpoint", "model"} <= set(before):
        yield "endpoint and model must precede requests"
    if body.get("endpoint") not in _ENDPOINTS:
        yield f"unknown endpoint: {body.get('endpoint')!r}"
    if body.get("model") not in offered:
        yield "the model is not available for batches"
    if body.get("completion_window", "24h") != "24h":
        yield "completion_window is 24h"
    if set(body.get("provider") or {}) - _ROUTING:
        yield "of provider, a batch takes only and allow_fallbacks"


def _request_problems(body: dict[str, Any]) -> Iterator[str]:
    requests = body.get("requests")
    if not isinstance(requests, list) or not requests:
        yield "requests is not a list with something in it"
        return
    ids = [request.get("custom_id") for request in requests]
    if not all(isinstance(custom_id, str) and custom_id for custom_id in ids):
        yield "a request has no custom_id"
    if len(set(ids)) < len(ids):
        yield "two requests have one custom_id"
    for request in requests:
        if set(request) != {"custom_id", "body"}:
            yield "a request is a custom_id and a body"
            continue
        yield from _body_problems(request["body"], body.get("model"))


def _body_problems(body: dict[str, Any], model: object) -> Iterator[str]:
    if body.get("model", model) != model:
        yield "a request names another model than its batch"
    if body.get("stream"):
        yield "a batch does not stream"
    if "provider" in body:
        yield "provider belongs to the batch, not to a request of it"
    for message in body.get("messages", ()):
        parts = message.get("content")
        kinds = {part.get("type") for part in parts} if isinstance(parts, list) else set()
        if kinds - _TEXT_PARTS:
            yield "batches are text only"
