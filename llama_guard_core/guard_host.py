"""One host, and how it is asked for verdicts: which endpoint, with whose prompt, under which name of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_guard_core.errors import ConfigurationError, GuardUnavailable, UnreadableVerdict
from llama_guard_core.guard_kinship import check_routers_own, is_kindred
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.guard_models import GuardModel
from llama_guard_core.guardrail.hazards import HazardCategory, LlamaGuardVersion
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.prompt import Turn, chat_messages, text_shown
from llama_guard_core.guardrail.published_prompts import PromptCategory, published_categories, published_prompt
from llama_guard_core.guardrail.scores import unsafe_probability
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict, without_excluded
from llama_guard_core.provider.endpoints import CHAT, COMPLETIONS, MODERATIONS, OLLAMA_GENERATE, Endpoint
from llama_guard_core.provider.hosts import GuardEndpoint, Host
from llama_guard_core.provider.routing import ModelVariant, ProviderRouting, routers_fields, with_variant
from llama_guard_core.provider.wire import Completion
from llama_guard_core.token_logprobs import read_token_logprobs

DEFAULT_GUARD_MODEL = "meta-llama/llama-guard-4-12b"
_MOST_TOKENS = 64  # a verdict naming all fourteen hazards takes about 45; some providers refuse fewer than 16
_TOP_LOGPROBS = 5
_OLLAMA_CONTEXT = 8192  # tokens; Ollama's own default is as low as 2,048
_SAMPLING: Mapping[str, Any] = {"temperature": 0, "max_tokens": _MOST_TOKENS, "seed": 0}
_ASKED_ABOUT = "S1"  # the code that a category of the application's own has in a prompt, where it stands alone

Question = Sequence[Turn]


@dataclass(frozen=True, slots=True)
class GuardRequest:
    """One request of the several that one question may need.

    Attributes:
        endpoint: where it is sent.
        body: its JSON.
        about: the application's own category it asks about; `None`: Meta's.
    """

    endpoint: Endpoint[Completion]
    body: Mapping[str, Any]
    about: CustomCategory | None = None


class GuardHost:
    """How one host is asked for verdicts. It asks nothing itself.

    Attributes:
        model: the model's id at the host.
        guard_model: which Llama Guard that is.
        taxonomy: its hazards.
        endpoint: how the host is asked.
        asked_model: the id in requests, with a router's suffix.

    Args:
        host: the host.
        model: the id of the guard model there; the host's own if left out.
        version: 1, 2, 3 or 4, where the id does not say which Llama Guard it is.
        raw_prompt: whether the published prompt is written here and sent to the host's raw completion endpoint; `None`
            leaves it to the host's record.
        variant: OpenRouter's suffix.
        fallback_models: ids of other Llama Guards that OpenRouter may ask in its place.
        routing: which of OpenRouter's providers may judge.

    Raises:
        ConfigurationError: if the host cannot be asked so; the message names its limit.
    """

    def __init__(
        self,
        host: Host,
        *,
        model: str | None = None,
        version: LlamaGuardVersion | None = None,
        raw_prompt: bool | None = None,
        variant: ModelVariant | None = None,
        fallback_models: Sequence[str] = (),
        routing: ProviderRouting | None = None,
    ) -> None:
        self.host = host
        self.model = _model_at(host, model)
        self.guard_model = GuardModel.named(self.model, version)
        self.taxonomy = self.guard_model.taxonomy
        self.endpoint = _endpoint(host, raw_prompt=raw_prompt)
        self._may_go_raw = raw_prompt is not False
        self._models = (self.model, *fallback_models)
        self._fields = routers_fields(host, self._models, routing)
        check_routers_own(host, self.taxonomy, variant, fallback_models)
        self.asked_model = with_variant(self.model, variant) if host.is_router else self.model

    def __repr__(self) -> str:
        prompt = "published, written here" if self.writes_prompt else "the host's"
        routing = f", routing={self._fields['provider']!r}" if "provider" in self._fields else ""
        return (
            f"{type(self).__name__}(model={self.asked_model!r}, version={self.guard_model.version}, "
            f"base_url={self.host.base_url!r}, prompt={prompt!r}{routing})"
        )

    @property
    def writes_prompt(self) -> bool:
        """Whether the published prompt is written here, and the host's own template is not used."""
        return self.endpoint in ("completions", "ollama")

    def check_policy(self, policy: Policy) -> None:
        """Refuse a policy that the guard at this host cannot follow.

        Raises:
            ConfigurationError: if it is about hazards that this version has not, or asks about categories of the
                application's own where the host lets nobody write the prompt.
        """
        policy.check_against(self.taxonomy)
        if not policy.custom_categories and len(self._left_out(policy)) == len(self.taxonomy.categories):
            msg = "excluded_categories: nothing is left to ask about; leave one category in, or judge no stage"
            raise ConfigurationError(msg)
        if policy.custom_categories and self._endpoint_for_custom() is None:
            msg = (
                f"custom_categories: {self.host.name} lets nobody write them into {self.model}'s prompt; that takes "
                "raw completions (vLLM, llama.cpp, Ollama, Together) or a template with the argument `categories`"
            )
            raise ConfigurationError(msg)

    def requests(self, questions: Sequence[Question], policy: Policy, stage: Stage) -> list[GuardRequest]:
        """What is asked, so that each question is answered.

        Raises:
            GuardUnavailable: if this guard cannot be shown the pictures in the questions.
        """
        writes = self.writes_prompt or (bool(policy.custom_categories) and self._endpoint_for_custom() != "chat")
        shown = [each for question in questions for each in self._as_it_can_be_shown(question, stage, as_text=writes)]
        left_out = self._left_out(policy)
        is_any_left = len(left_out) < len(self.taxonomy.categories)
        return [
            *(self._about_published(question, left_out) for question in shown if is_any_left),
            *(self._about_custom(question, custom) for custom in policy.custom_categories for question in shown),
        ]

    def read(self, request: GuardRequest, completion: Completion, policy: Policy, stage: Stage) -> Verdict:
        """The verdict in an answer.

        Raises:
            UnreadableVerdict: if it is none, or comes from a model that is no Llama Guard.
        """
        self._check_answerer(completion, stage)
        said = read_verdict(
            completion.text, taxonomy=self.taxonomy, stage=stage, finish_reason=completion.finish_reason
        )
        if said.safe and (completion.refusal or completion.alternatives):
            msg = "the guard said safe and, beside it, something else: that is no verdict"
            raise UnreadableVerdict(msg, stage=stage)
        verdict = replace(
            said,
            score=unsafe_probability(read_token_logprobs(completion.logprobs)),
            model=completion.model or self.model,
            provider=completion.provider,
            host=self.host.name,
            usage=completion.usage,
            generation_id=completion.id,
        )
        if request.about is None:
            return without_excluded(verdict, policy.excluded_categories)
        if verdict.safe:
            return verdict
        # One category stood in the prompt, whatever code the answer has.
        code = f"C{policy.custom_categories.index(request.about) + 1}"
        named = HazardCategory(code, request.about.name, self.taxonomy.version)
        return replace(verdict, categories=(named,), all_named=True)

    def read_as(self, policy: Policy) -> list[str]:
        """What else a verdict depends on than on request and answer: what the codes mean, and which do not count."""
        return [f"{self.guard_model.version} {self.guard_model.size}", *self._left_out(policy)]

    # Requests

    def _left_out(self, policy: Policy) -> list[str]:
        """The codes that are not asked about."""
        named = set(policy.excluded_categories)
        if not named:
            return []
        return [category.code for category in self.taxonomy.categories if {category.code, category.name} & named]

    def _about_published(self, question: Question, excluded: Sequence[str]) -> GuardRequest:
        if self.writes_prompt:
            return self._raw(self.endpoint, question, published_categories(self.guard_model, excluded))
        if self.endpoint == "moderations":
            return GuardRequest(MODERATIONS, {"messages": self._messages(question)})
        is_excluded_there = excluded and self.host.takes_template_arguments and self.guard_model.takes_excluded
        return self._chat(question, {"excluded_category_keys": list(excluded)} if is_excluded_there else {})

    def _about_custom(self, question: Question, custom: CustomCategory) -> GuardRequest:
        category = PromptCategory(_ASKED_ABOUT, custom.name, custom.description, custom.examples)
        endpoint = self._endpoint_for_custom()
        if endpoint in ("completions", "ollama"):
            return replace(self._raw(endpoint, question, [category]), about=custom)
        return replace(self._chat(question, {"categories": {category.code: category.text}}), about=custom)

    def _endpoint_for_custom(self) -> GuardEndpoint | None:
        """Where one category can stand alone in the prompt."""
        if self.writes_prompt:
            return self.endpoint
        if self.endpoint == "chat" and self.host.takes_template_arguments and self.guard_model.takes_custom:
            return "chat"
        return self.host.raw_endpoint if self._may_go_raw else None

    def _messages(self, question: Question) -> list[dict[str, Any]]:
        return chat_messages(question, content=self.host.content or self.guard_model.content)

    def _chat(self, question: Question, template_arguments: Mapping[str, Any]) -> GuardRequest:
        body = {"model": self.asked_model, "messages": self._messages(question), **_SAMPLING, **self._fields}
        if template_arguments:
            body["chat_template_kwargs"] = dict(template_arguments)
        if self.host.logprobs == "openai":
            body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        elif self.host.logprobs == "count":
            body["logprobs"] = _TOP_LOGPROBS
        return GuardRequest(CHAT, {name: value for name, value in body.items() if name not in self.host.rejects})

    def _raw(self, endpoint: GuardEndpoint, question: Question, categories: Sequence[PromptCategory]) -> GuardRequest:
        prompt = published_prompt(self.guard_model, [(turn.role, text_shown(turn)) for turn in question], categories)
        server = self.host.server
        if self.host.adds_bos if server is None else server.start().adds_bos:
            prompt = prompt.removeprefix(self.guard_model.begins_with)
        if endpoint == "ollama":
            return GuardRequest(OLLAMA_GENERATE, self._ollama(prompt))
        body = {"model": self.asked_model, "prompt": prompt, **_SAMPLING, **self.host.raw_fields}
        if self.host.logprobs:
            body["logprobs"] = _TOP_LOGPROBS
        return GuardRequest(COMPLETIONS, {name: value for name, value in body.items() if name not in self.host.rejects})

    def _ollama(self, prompt: str) -> dict[str, Any]:
        context = max(_OLLAMA_CONTEXT, 1 << (len(prompt.encode("utf-8", "replace")) // 2 + _MOST_TOKENS).bit_length())
        options = {"temperature": 0, "seed": 0, "num_predict": _MOST_TOKENS, "num_ctx": context}
        # By default a prompt beyond the context is cut to half of it and answered with status 200 (ollama pull requests
        # 17944 and 18399). Versions too old to know the two fields cut it still: so the context is made large enough.
        uncut = {"truncate": False, "shift": False}
        asked = {"model": self.asked_model, "prompt": prompt, "raw": True, "stream": False, **uncut}
        return {**asked, "options": options, "logprobs": True, "top_logprobs": _TOP_LOGPROBS}

    def _as_it_can_be_shown(self, question: Question, stage: Stage, *, as_text: bool) -> Iterator[Question]:
        """The question, once for each of its pictures where the model looks at one alone."""
        pictures = [(at, image) for at, turn in enumerate(question) for image in turn.images]
        most = 0 if as_text else self.guard_model.most_images
        if not pictures or most is None or len(pictures) <= most:
            yield question
            return
        if most == 0:
            why = "a prompt in text carries none" if as_text else f"{self.model} reads none"
            if as_text and not self.writes_prompt:
                why = "custom_categories go into a prompt in text there, which carries none"
            msg = f"{self.host.name} cannot be asked about images ({why}): ask Llama Guard 4 at a chat endpoint"
            raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
        for at, image in pictures:
            yield [replace(turn, images=(image,) if place == at else ()) for place, turn in enumerate(question)]

    def _check_answerer(self, completion: Completion, stage: Stage) -> None:
        """A router may have its own ideas about which model answers."""
        answered = completion.model
        if not self.host.is_router or answered is None or _plain(answered) in map(_plain, self._models):
            return
        if not is_kindred(answered, self.taxonomy):
            msg = f"{self.host.name} had another model answer than the guard that was asked: that is no verdict"
            raise UnreadableVerdict(msg, stage=stage)


def _model_at(host: Host, model: str | None) -> str:
    chosen = model or host.guard_model
    if chosen is None and host.api_key_env is None:
        return DEFAULT_GUARD_MODEL  # an address of one's own: the name it most likely serves
    if chosen is None:
        msg = (
            f"{host.name} is not known to have a Llama Guard: name a model that it has with model=. It {host.remarks}."
        )
        raise ConfigurationError(msg)
    return chosen


def _endpoint(host: Host, *, raw_prompt: bool | None) -> GuardEndpoint:
    if raw_prompt is None:
        return host.guard_endpoint
    if not raw_prompt:
        return "chat" if host.guard_endpoint in ("completions", "ollama") else host.guard_endpoint
    if host.raw_endpoint is None:
        msg = f"raw_prompt: {host.name} has no endpoint that completes a prompt as it is; leave raw_prompt out"
        raise ConfigurationError(msg)
    return host.raw_endpoint


def _plain(model: str) -> str:
    return model.partition(":")[0].lower()
