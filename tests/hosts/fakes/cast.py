"""The hosts that are known by name, each with what is documented or was recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_provider.field_rules import field_problems
from fake_provider.message_rules import message_problems

from .fake_host import FakeHost, Refused
from .openai_host import CHAT_FIELDS, RAW_FIELDS, OpenAIHost
from .published import Family, rendered
from .spoken import prose

_LOGPROBS = {"logprobs", "top_logprobs"}


class OpenRouter(OpenAIHost):
    """Any model of its catalogue may answer for another.

    Attributes:
        answers_as: the model that answers; None: the one that was asked.
    """

    fields = CHAT_FIELDS | {"models", "provider", "plugins", "logprobs", "top_logprobs"}
    answers_as: str | None = None

    def __init__(self, key: str = "sk-openrouter") -> None:
        models: dict[str, Family] = {"meta-llama/llama-guard-4-12b": "4-12b", "meta-llama/llama-guard-3-8b": "3-8b"}
        super().__init__("https://openrouter.ai/api/v1", key=key, models=models)

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        for problem in (*field_problems(body), *message_problems(body.get("messages"))):
            self.broken(400, problem)
        return super().chat(body)

    def family_of(self, model: object) -> Family:
        return super().family_of(str(model).partition(":")[0])

    def padded(self, body: bytes) -> bytes:
        return b"\n         \n" + body

    def dressed(self, answer: dict[str, Any]) -> dict[str, Any]:
        choice = {**answer["choices"][0], "native_finish_reason": "stop"}
        if self.answers_as is not None and "guard" not in self.answers_as.lower():
            choice["message"] = {"role": "assistant", "content": prose("safe").text}
        model = self.answers_as or answer["model"]
        return {**answer, "model": model, "provider": "DeepInfra", "choices": [choice], "system_fingerprint": None}


class VLLM(OpenAIHost):
    """Converts content, takes template arguments, and leaves out in silence what it does not know."""

    fields = CHAT_FIELDS | _LOGPROBS | {"chat_template_kwargs"}
    raw_fields = RAW_FIELDS | {"logprobs", "add_special_tokens"}
    takes_arguments = True
    chat_logprobs = "content"
    raw_logprobs = "columns"

    def __init__(self, model: str = "meta-llama/Llama-Guard-4-12B", family: Family = "4-12b") -> None:
        super().__init__("http://localhost:8000/v1", key=None, models={model: family})

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        return {"error": {"message": refusal.message, "type": "BadRequestError", "param": None, "code": refusal.status}}


class SGLang(OpenAIHost):
    """Applies the model's template to what it is sent, as it is."""

    fields = CHAT_FIELDS | _LOGPROBS | {"chat_template_kwargs"}
    raw_fields = RAW_FIELDS | {"logprobs"}
    converts = False
    takes_arguments = True
    chat_logprobs = "content"
    raw_logprobs = "columns"

    def __init__(self, model: str = "meta-llama/Llama-Guard-4-12B", family: Family = "4-12b") -> None:
        super().__init__("http://localhost:30000/v1", key=None, models={model: family})


class LlamaCpp(OpenAIHost):
    """Its server as it is started without `--jinja`: a chat is no guard's prompt there. It answers to any name."""

    fields = CHAT_FIELDS | _LOGPROBS
    raw_fields = RAW_FIELDS | {"logprobs"}
    chat_logprobs = "content"
    raw_logprobs = "content"

    def __init__(
        self,
        base_url: str = "http://localhost:8080/v1",
        *,
        key: str | None = None,
        family: Family = "3-8b",
        adds_bos: bool = True,
    ) -> None:
        super().__init__(base_url, key=key, models={})
        self.family: Family = family
        self.adds_bos = adds_bos

    def family_of(self, model: object) -> Family:
        return self.family

    def prompt_of(self, family: Family, messages: Any, body: Mapping[str, Any]) -> str:
        """The chat template of plain Llama 3: the messages and nothing about a guard."""
        return "".join(f"<|start_header_id|>{m['role']}<|end_header_id|>\n\n{m['content']}<|eot_id|>" for m in messages)


class Groq(OpenAIHost):
    """Withdrew its guards; `with_guard` is what it was before.

    Args:
        with_guard: whether it still has Llama Guard 4.
    """

    refuses = frozenset({"logprobs", "top_logprobs", "logit_bias", "chat_template_kwargs", "plugins", "provider"})
    begins = ""

    def __init__(self, *, with_guard: bool = False) -> None:
        models: dict[str, Family] = {"meta-llama/llama-guard-4-12b": "4-12b"} if with_guard else {}
        super().__init__("https://api.groq.com/openai/v1", key="sk-groq", models=models)

    def family_of(self, model: object) -> Family:
        if model not in self.models and "guard" in str(model):
            message = f"The model `{model}` has been decommissioned and is no longer supported."
            raise Refused(400, message, "model_decommissioned")
        return super().family_of(model)

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        if any("name" in message for message in body["messages"]) or body.get("n", 1) != 1:
            self.broken(400, "property 'name' is unsupported")
        return super().chat(body)

    def dressed(self, answer: dict[str, Any]) -> dict[str, Any]:
        usage = {**answer["usage"], "queue_time": 0.08, "prompt_time": 0.02, "completion_time": 0.006}
        return {**answer, "usage": usage, "usage_breakdown": None, "x_groq": {"id": "req_1"}}


class Together(OpenAIHost):
    """Counts log-probabilities, and writes them in a shape of its own."""

    fields = CHAT_FIELDS | {"logprobs", "safety_model"}
    raw_fields = RAW_FIELDS | {"logprobs"}
    chat_logprobs = "columns"
    raw_logprobs = "columns"

    def __init__(self, key: str = "sk-together") -> None:
        models: dict[str, Family] = {
            "meta-llama/Llama-Guard-4-12B": "4-12b",
            "meta-llama/Meta-Llama-Guard-3-8B": "3-8b",
            "meta-llama/Llama-Guard-3-11B-Vision-Turbo": "3-11b",
        }
        super().__init__("https://api.together.xyz/v1", key=key, models=models)

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = body.get("logprobs")
        if asked is not None and (isinstance(asked, bool) or not 0 <= asked <= 20):
            self.broken(400, "logprobs: Input should be a valid integer")
        return super().chat(body)

    def dressed(self, answer: dict[str, Any]) -> dict[str, Any]:
        choice = {**answer["choices"][0], "seed": 7090417062976472000}
        if isinstance(choice["logprobs"], dict) and choice["logprobs"].get("tokens"):
            choice["logprobs"]["token_ids"] = [0] * len(choice["logprobs"]["tokens"])
        return {**answer, "prompt": [], "metadata": {"weight_version": "default"}, "choices": [choice]}


class DeepInfra(OpenAIHost):
    """Gives no log-probabilities at this address."""

    raw_fields = RAW_FIELDS
    models_there: Mapping[str, Family] = {
        "meta-llama/Llama-Guard-4-12B": "4-12b",
        "meta-llama/Llama-Guard-3-8B": "3-8b",
    }

    def __init__(self) -> None:
        super().__init__("https://api.deepinfra.com/v1/openai", key="sk-deepinfra", models=self.models_there)

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        return {"detail": {"error": refusal.message}}


class Nvidia(OpenAIHost):
    """Says itself that roles must alternate. Its verdicts have a blank where others have none."""

    fields = CHAT_FIELDS | _LOGPROBS
    joined = ", "

    def __init__(self) -> None:
        models: dict[str, Family] = {"meta/llama-guard-4-12b": "4-12b"}
        super().__init__("https://integrate.api.nvidia.com/v1", key="sk-nvidia", models=models)


class Fireworks(OpenAIHost):
    """Has Llama Guard 3 and older."""

    fields = CHAT_FIELDS | _LOGPROBS | {"safe_tokenization", "context_length_exceeded_behavior"}
    raw_fields = RAW_FIELDS | {"logprobs"}
    joined = "\n"

    def __init__(self) -> None:
        names = {"llama-guard-3-8b": "3-8b", "llama-guard-3-1b": "3-1b", "llama-guard-2-8b": "2-8b"}
        models: dict[str, Family] = {f"accounts/fireworks/models/{name}": size for name, size in names.items()}  # type: ignore[misc]
        super().__init__("https://api.fireworks.ai/inference/v1", key="sk-fireworks", models=models)


class Cloudflare(OpenAIHost):
    """Its type of the guard's input has messages of two roles, max_tokens, temperature and response_format; no more."""

    fields = frozenset({"model", "messages", "max_tokens", "temperature", "response_format"})

    def __init__(self, account: str = "a1b2c3") -> None:
        address = f"https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1"
        super().__init__(address, key="sk-cloudflare", models={"@cf/meta/llama-guard-3-8b": "3-8b"})

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        for message in body["messages"]:
            if message["role"] not in ("user", "assistant") or not isinstance(message["content"], str):
                self.broken(400, "AiError: Bad input: messages")
        return super().chat(body)

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        return {
            "result": None,
            "success": False,
            "errors": [{"code": 5006, "message": refusal.message}],
            "messages": [],
        }


class Meta(FakeHost):
    """The moderation of Meta's Llama API: flags and slugs, no scores, and nothing to choose."""

    slugs: Mapping[str, str] = {
        "S1": "violent-crimes",
        "S2": "non-violent-crimes",
        "S6": "specialized-advice",
        "S9": "indiscriminate-weapons",
    }

    def __init__(self) -> None:
        super().__init__("https://api.llama.com", key="sk-meta", models={})

    def routes(self) -> Mapping[str, Any]:
        return {"/v1/moderations": self.moderate}

    def moderate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Judge the end of a conversation."""
        if set(body) - {"messages", "model"}:
            self.broken(400, "Extra inputs are not permitted")
        contents = [message["content"] for message in body["messages"]]
        as_parts = [[{"type": "text", "text": said}] if isinstance(said, str) else said for said in contents]
        images = [part["image_url"]["url"] for parts in as_parts for part in parts if part["type"] == "image_url"]
        pairs = zip(body["messages"], as_parts, strict=True)
        prompt = rendered("4-12b", [{**message, "content": parts} for message, parts in pairs])
        self.judged(prompt, "4-12b", images)
        codes = self.asked[-1].codes
        flags = {"flagged": bool(codes), "flagged_categories": [self.slugs[code] for code in codes] or None}
        return {"model": "Llama-Guard", "results": [flags]}

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        return {"title": "Bad Request", "detail": refusal.message, "status": refusal.status}


class OfOnesOwn(OpenAIHost):
    """A server at an address that nobody knows: it applies the model's template as it is, and no more.

    It tells no log-probabilities, and leaves the token that ends an answer at its end.
    """

    converts = False
    ends = "<|eot|>"

    def __init__(self, model: str = "meta-llama/llama-guard-4-12b", family: Family = "4-12b") -> None:
        super().__init__("http://guards.example:9000/v1", key=None, models={model: family})

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        for name in body:
            if name not in self.fields:
                self.broken(422, f"Unexpected keys in the request: {name}")
        return super().chat(body)
