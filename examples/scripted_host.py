"""A host on this machine for examples without an account: a scripted model, and a guard that knows two words.

It speaks the chat-completions API that the real hosts speak, and serves one page besides. **Its guard judges nothing**:
it calls unsafe what has the words "pipe bomb" in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

UNSAFE_WORDS = "pipe bomb"
Script = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]
"""From the messages so far to the assistant's next."""


def says(text: str) -> dict[str, Any]:
    """A reply of words."""
    return {"role": "assistant", "content": text}


def calls(*called: tuple[str, dict[str, Any]], step: int) -> dict[str, Any]:
    """A reply that calls tools: each by name, with its arguments."""
    made = [
        {
            "id": f"call-{step}-{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for number, (name, arguments) in enumerate(called)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


@contextmanager
def scripted_host(script: Script, page: str) -> Iterator[str]:
    """Serve on a free port of this machine, while the `with` lasts.

    Args:
        script: what the model says.
        page: what a GET of anything returns.

    Yields:
        The address: put `/v1` behind it for the API, and anything else for the page.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send("text/plain", page)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = _judged(asked["messages"]) if "guard" in asked["model"] else script(asked["messages"])
            if asked.get("stream"):
                self._send("text/event-stream", f"data: {_answer(message, 'delta')}\n\ndata: [DONE]\n\n")
            else:
                self._send("application/json", _answer(message, "message"))

        def _send(self, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _judged(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return says("unsafe\nS9" if UNSAFE_WORDS in str(messages[-1]["content"]) else "safe")


def _answer(message: dict[str, Any], name: str) -> str:
    numbered = [{"index": at, **call} for at, call in enumerate(message.get("tool_calls", ()))]
    said = {**message, **({"tool_calls": numbered} if numbered else {})}
    choice = {"index": 0, name: said, "finish_reason": "tool_calls" if numbered else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json.dumps({"id": "scripted", "model": "scripted", "choices": [choice], "usage": usage})
