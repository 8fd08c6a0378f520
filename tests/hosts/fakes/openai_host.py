"""A host with the OpenAI-like endpoints `/chat/completions` and, at some, `/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .fake_host import Answer, FakeHost
from .published import BEGINNINGS, WITH_ARGUMENTS, WITH_PARTS, Family, TemplateError, rendered
from .spoken import Spoken

LogProbShape = Literal["content", "columns"]

_CHAT = frozenset({"model", "messages", "temperature", "max_tokens", "seed", "stop", "top_p", "n", "stream", "user"})
_RAW = frozenset({"model", "prompt", "temperature", "max_tokens", "seed", "stop", "top_p", "n", "stream", "echo"})
_MOST_IMAGES: Mapping[Family, int] = {"4-12b": 5, "3-11b": 1}


class OpenAIHost(FakeHost):
    """What such hosts have in common; each one says below where it differs.

    Attributes:
        fields: what a chat may have.
        raw_fields: what a raw completion may have; None where there is no such endpoint.
        refuses: fields that are answered with 400.
        converts: whether it brings a message's content into the form that the model's template takes.
        takes_arguments: whether `chat_template_kwargs` reach the template.
        adds_bos: whether it begins a raw prompt with the token that begins a text.
        chat_logprobs: in which shape it tells log-probabilities in chats, if at all.
        raw_logprobs: the same in raw completions.
    """

    fields = _CHAT
    raw_fields: frozenset[str] | None = None
    refuses: frozenset[str] = frozenset()
    converts = True
    takes_arguments = False
    adds_bos = True
    chat_logprobs: LogProbShape | None = None
    raw_logprobs: LogProbShape | None = None

    def routes(self) -> Mapping[str, Answer]:
        path = "/" + self.base_url.split("/", 3)[3]
        raw = {} if self.raw_fields is None else {f"{path}/completions": self.complete}
        return {f"{path}/chat/completions": self.chat, **raw}

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a chat: the template makes the prompt."""
        family = self.family_of(body.get("model"))
        self._check_fields(body, self.fields)
        messages = [self._as_template_takes(message, family) for message in body["messages"]]
        images = [url for message in body["messages"] for url in _images_in(message["content"])]
        if len(images) > _MOST_IMAGES.get(family, 0):
            self.broken(400, f"At most {_MOST_IMAGES.get(family, 0)} image(s) may be provided in one prompt.")
        spoken = self.judged(self.prompt_of(family, messages, body), family, images).within(body.get("max_tokens"))
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": spoken.text},
            "logprobs": self.logprobs_of(spoken, body, self.chat_logprobs),
            "finish_reason": "length" if spoken.cut else "stop",
        }
        return self.dressed({**self._envelope("chat.completion", body, spoken), "choices": [choice]})

    def prompt_of(self, family: Family, messages: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
        """What the template makes of the messages."""
        arguments = body.get("chat_template_kwargs", {}) if self.takes_arguments and family in WITH_ARGUMENTS else {}
        try:
            return rendered(
                family,
                messages,
                categories=arguments.get("categories"),
                excluded=arguments.get("excluded_category_keys", ()),
            )
        except TemplateError as error:
            self.broken(400, str(error), "BadRequestError")
            raise

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Complete a prompt that somebody else has written."""
        family = self.family_of(body.get("model"))
        self._check_fields(body, self.raw_fields or frozenset())
        begins = BEGINNINGS[family] if body.get("add_special_tokens", self.adds_bos) else ""
        spoken = self.judged(begins + body["prompt"], family).within(body.get("max_tokens"))
        choice = {
            "index": 0,
            "text": spoken.text,
            "logprobs": self.logprobs_of(spoken, body, self.raw_logprobs),
            "finish_reason": "length" if spoken.cut else "stop",
        }
        return self.dressed({**self._envelope("text_completion", body, spoken), "choices": [choice]})

    def logprobs_of(self, spoken: Spoken, body: Mapping[str, Any], shape: LogProbShape | None) -> Any:
        """The log-probabilities, where they are asked for and to be had."""
        asked = body.get("logprobs")
        most = body.get("top_logprobs", 0) if asked is True else asked
        if shape is None or asked in (None, False):
            return None
        return spoken.as_content(most) if shape == "content" else spoken.as_columns(most)

    def dressed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer with what this host puts beside it."""
        return answer

    def _check_fields(self, body: Mapping[str, Any], known: frozenset[str]) -> None:
        for name in body:
            if name in self.refuses:
                self.broken(400, f"property '{name}' is unsupported")
        self.left_out += [name for name in body if name not in known]
        self.check_sampling(body)

    def _as_template_takes(self, message: Mapping[str, Any], family: Family) -> Mapping[str, Any]:
        content = message["content"]
        if not self.converts:
            return message
        if family in WITH_PARTS:
            return {**message, "content": [{"type": "text", "text": content}] if isinstance(content, str) else content}
        if not isinstance(content, str):
            content = "\n".join(part["text"] for part in content if part["type"] == "text")
        return {**message, "content": content}

    def _envelope(self, kind: str, body: Mapping[str, Any], spoken: Spoken) -> dict[str, Any]:
        said = len(spoken.tokens) + 1
        usage = {"prompt_tokens": 200, "completion_tokens": said, "total_tokens": 200 + said}
        return {"id": f"cmpl-{self.calls}", "object": kind, "created": 0, "model": body.get("model"), "usage": usage}


CHAT_FIELDS = _CHAT
RAW_FIELDS = _RAW


def _images_in(content: object) -> list[str]:
    parts = content if isinstance(content, list) else []
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
