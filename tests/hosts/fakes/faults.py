"""What goes wrong with a host, in the ways that matter for a list of them."""

from __future__ import annotations

import httpx

from .fake_host import Fault


def down(request: httpx.Request) -> httpx.Response:
    """Nobody listens."""
    msg = "[Errno 111] Connection refused"
    raise httpx.ConnectError(msg, request=request)


def silent(request: httpx.Request) -> httpx.Response:
    """Nothing comes in time."""
    msg = "The read operation timed out"
    raise httpx.ReadTimeout(msg, request=request)


def status(code: int, message: str = "it failed", *, word: str = "error", retry_after: int | None = None) -> Fault:
    """An error status with a body of OpenAI's shape."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    body = {"error": {"message": message, "type": word, "code": word}}
    return lambda _: httpx.Response(code, json=body, headers=headers)


def body(content: bytes, code: int = 200) -> Fault:
    """Some bytes."""
    return lambda _: httpx.Response(code, content=content)


overloaded = status(503, "overloaded")
rate_limited = status(429, "Rate limit reached", word="rate_limit_exceeded")
withdrawn = status(400, "The model has been decommissioned and is no longer supported.", word="model_decommissioned")
unknown_model = status(404, "The model does not exist", word="model_not_found")
unpaid = status(402, "Insufficient credits")
cut = body(b'{"id": "gen-1", "choices": [{"message": {"content": "\\n\\nsa')
web_page = body(b"<!DOCTYPE html><html><body>Bad gateway</body></html>")
empty = body(b"")
wrong_key = status(401, "Invalid API Key", word="invalid_api_key")
bad_request = status(400, "max_tokens must be at least 1")
too_long = status(400, "This model's maximum context length is 4096 tokens.", word="context_length_exceeded")
forbidden = status(403, "not permitted")
chatter = body(b'{"choices": [{"message": {"role": "assistant", "content": "Hello! Sure."}, "finish_reason": "stop"}]}')
