"""Answers of a guard that are no verdict."""

from __future__ import annotations

from fake_provider import Fault, Reply, ToolCall

from fault_matrix.failures import UNSAFE, message, rows, says

TEXTS = (
    "safe\nS1", "safe S1", "SAFE\nS1", "safe, S9", "safe\n\nunsafe", "safe unsafe", "safe safe", "safe!",
    "safe, but watch out", "Safe harbour", "safely", "safe\x00", "safe\u200b", "\u200bsafe", "\u017fafe", "s\u0430fe",
    "\uff53\uff41\uff46\uff45", "not unsafe", "It is unsafe", "It is safe", "The text is safe.", "no", "yes", "0", "true",
    "safe<|eot|>S1", "<|eot|>safe<|eot|>S9", "S9", "assistant\n\nsafe", "safe\nassistant\nunsafe", "[safe]", "(safe)",
    '{"safe":true,"categories":["S1"]}', '{"safe":"true"}', '{"safe":1}', '{"safe":null}', '{"unsafe":false}',
    '{"safe":true}{"safe":false}', '{"safe":true', '{"safe":false,"safe":true}', '[{"safe":true}]', '{"verdict":"safe"}',
    '```json\n{"safe":true}\n```', "safe " * 3000, "sa fe", "s\na\nf\ne", "s-a-f-e",
)  # fmt: skip
READABLE_TEXTS = (
    "unsafe",
    "UNSAFE\nS1",
    "unsafe\nS99",
    "unsafe, but harmless",
    "unsafe\nsafe",
    "*unsafe*",
    "unsafe safe",
)

_SAFE = Reply("safe")


def _ended(reason: str | None) -> Fault:
    return message(f"safe, finish reason {reason}", lambda choice, _: choice.update(finish_reason=reason))


def _content(name: str, content: object) -> Fault:
    return message(f"content {name}", lambda _, said: said.update(content=content))


SHAPES = (
    Fault.whitespace(),
    Fault.prose(),
    *map(_ended, ("length", "content_filter", "tool_calls", "error", "SAFE")),
    _content("null", None),
    _content("a number", 5),
    _content("true", True),
    _content("an object", {"safe": True}),
    _content("parts that disagree", [{"type": "text", "text": "safe"}, {"type": "text", "text": "unsafe"}]),
    _content("parts of no text", [{"type": "image_url", "image_url": {"url": "data:,safe"}}]),
    _content("nested lists", [["safe"]]),
    Fault.reply("refusal alone", Reply(None, refusal="I cannot say whether it is safe.")),
    Fault.reply("refusal beside safe", Reply("safe", refusal="I cannot judge that.")),
    Fault.reply("reasoning alone", Reply("", reasoning="safe")),
    Fault.reply("a tool call", Reply(None, (ToolCall("verdict", '{"safe": true}'),))),
    Fault.reply("a tool call beside safe", Reply("safe", (ToolCall("verdict", '{"safe": false}'),))),
    message("no content", lambda _, said: said.pop("content")),
    message("text beside an empty message", lambda choice, said: (said.update(content=""), choice.update(text="safe"))),
)
READABLE_SHAPES = (
    message("unsafe, no finish reason", lambda choice, _: choice.update(finish_reason=None)),
    _content("a list of parts", [{"type": "text", "text": UNSAFE}]),
    message("unsafe, finish reason length", lambda choice, _: choice.update(finish_reason="length")),
)

WITHDRAWN = (
    Fault.status(404, message="No endpoints found for meta-llama/llama-guard-4-12b.", metadata={"error_type": "not_found"}),
    Fault.status(400, message="meta-llama/llama-guard-4-12b is not a valid model ID", metadata={"error_type": "unmapped"}),
    Fault.status(410, message="This model was removed", metadata={"error_type": "not_found"}),
)  # fmt: skip

FAILURES = [
    *rows("verdict", [says(text) for text in TEXTS]),
    *rows("verdict", [says(text) for text in READABLE_TEXTS], may_be_read=True),
    *rows("verdict", SHAPES),
    *rows("verdict", READABLE_SHAPES, may_be_read=True),
    *rows("withdrawn", WITHDRAWN),
]
