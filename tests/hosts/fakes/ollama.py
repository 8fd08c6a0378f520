"""Ollama: its chat asks about the user's last message whoever spoke last; its own endpoint takes a prompt as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fake_host import Answer, Refused
from .openai_host import OpenAIHost
from .published import BEGINNINGS, Family, rendered

_FIELDS = {"model", "prompt", "raw", "stream", "truncate", "shift", "options", "logprobs", "top_logprobs", "keep_alive"}
_OPTIONS = {"temperature", "seed", "num_predict", "num_ctx", "top_k", "top_p", "stop"}
_CHARACTERS_OF_A_TOKEN = 3
_DEFAULT_CONTEXT = 2048


class Ollama(OpenAIHost):
    """Has Llama Guard 3 in two sizes; both have Ollama's own template, which takes strings."""

    def __init__(self) -> None:
        models: dict[str, Family] = {"llama-guard3:8b": "3-8b", "llama-guard3:1b": "3-1b"}
        super().__init__("http://localhost:11434/v1", key=None, models=models)

    def routes(self) -> Mapping[str, Answer]:
        return {**super().routes(), "/api/generate": self.generate}

    def family_of(self, model: object) -> Family:
        if model not in self.models:
            raise Refused(404, f"model '{model}' not found")
        return self.models[str(model)]

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        return {"error": refusal.message}

    def prompt_of(self, family: Family, messages: Any, body: Mapping[str, Any]) -> str:
        """Its template for both sizes: every message that is not the user's is the agent's, and the user's is judged."""
        merged = [{"role": "user" if m["role"] == "user" else "assistant", "content": m["content"]} for m in messages]
        prompt = rendered("3-8b", merged, says_last_of="User")
        return prompt if family == "3-8b" else prompt.removeprefix(" ")

    def generate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Complete a prompt."""
        family = self.family_of(body.get("model"))
        options = body.get("options", {})
        self.left_out += [name for name in body if name not in _FIELDS]
        self.left_out += [f"options.{name}" for name in options if name not in _OPTIONS]
        self.check_sampling(options)
        if body.get("raw") is not True or body.get("stream") is not False:
            self.violations.append("a prompt of one's own is sent raw, and its answer read whole")
        may_be_cut = body.get("truncate") is not False or body.get("shift") is not False
        if may_be_cut:
            self.violations.append("a prompt that is too long would be cut in silence")
        prompt = BEGINNINGS[family] + body["prompt"]
        tokens = len(prompt) // _CHARACTERS_OF_A_TOKEN
        if tokens > options.get("num_ctx", _DEFAULT_CONTEXT) and not may_be_cut:
            raise Refused(400, "the input length exceeds the context length")
        spoken = self.judged(prompt, family).within(options.get("num_predict"))
        told = {"logprobs": spoken.as_list(body.get("top_logprobs", 0))} if body.get("logprobs") else {}
        return {
            "model": body["model"],
            "created_at": "2026-11-20T10:00:00.000000Z",
            "response": spoken.text,
            "done": True,
            "done_reason": "length" if spoken.cut else "stop",
            "total_duration": 158209125,
            "load_duration": 30209125,
            "prompt_eval_count": tokens,
            "prompt_eval_duration": 8000000,
            "eval_count": len(spoken.tokens) + 1,
            "eval_duration": 9000000,
            **told,
        }
