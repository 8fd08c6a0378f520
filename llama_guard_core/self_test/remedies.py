"""What to do about a guard that does not judge as it should, in the words of this package's settings."""

from __future__ import annotations

from typing import Literal

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guard_host import GuardHost
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import KNOWN_HOSTS

_OTHER_HOST = "choose one that completes prompts as they are, with host= (vllm, sglang, llama.cpp, ollama, together)"
_DOUBLE_TEMPLATE = (
    "A host that puts our prompt into a template of its own shows the guard a double one: raw_prompt=False where that "
    f"template is right, or {_OTHER_HOST}."
)
_WORDS = "If this guard knows other words, pass them: ProbeTexts(harmless=, harmful=, refusal=)."

FOR_UNSEEN_PICTURES = (
    "Keep pictures from passing for judged: images=ImageRules(max_images=0). Or choose a host whose Llama Guard reads "
    "them, with host=; at OpenRouter also with routing=."
)
FOR_UNCOUNTED_PICTURES = (
    "Find out whether this host shows pictures to the guard; if not, images=ImageRules(max_images=0)."
)
FOR_SEVERAL_PROVIDERS = "Test one provider: routing=ProviderRouting(only=[...])."
FOR_PICTURES = "Keep pictures from this host, images=ImageRules(max_images=0), or choose another with host= or model=."
_LATER = "Test again later. For a second host when this one fails, give a list: host=[...]."
_FOR_FAILURES = {
    "authentication": "Pass api_key=.",
    "not_found": "Name a model that the host has with model=, or choose another host with host=. Check base_url=.",
    "context_length": "Give the model more context: -c (llama.cpp), --max-model-len (vLLM), Embedded(context_tokens=).",
    "rate_limit": _LATER,
    "daily_limit": _LATER,
    "payment": _LATER,
    "server": _LATER,
    "connection": "Start the server, or correct host= or base_url=.",
    "timeout": "Allow more time with timeout=: a model that is loaded for its first question needs more.",
}


def content_at(host: GuardHost) -> Literal["string", "parts"]:
    """How a host is sent text, where its own template makes the prompt."""
    return host.host.content or host.guard_model.content


def for_no_verdicts(host: GuardHost) -> str:
    """Where prose comes back."""
    if host.writes_prompt:
        return f"Name a Llama Guard with model=. {_DOUBLE_TEMPLATE}"
    return (
        f"Name a Llama Guard with model=. If it is one, its template is not applied: {_write_prompt(host)}. "
        "llama.cpp's own server applies it only with --jinja."
    )


def for_continued(host: GuardHost) -> str:
    """Where prompts are judged, and an answer comes back for replies that is no verdict."""
    if host.writes_prompt:
        return _DOUBLE_TEMPLATE
    return f"Start llama.cpp's server with --no-prefill-assistant. Elsewhere: {_write_prompt(host)}."


def for_unseen_text(host: GuardHost) -> str:
    """Where everything is safe."""
    if host.writes_prompt:
        return f"Check model= and version=: the prompt must be that of the model. {_DOUBLE_TEMPLATE} {_WORDS}"
    if host.endpoint == "moderations":
        return f"Choose another host with host=. {_WORDS}"
    return f"The template may want text in another form: {_other_content(host)}. Or {_write_prompt(host)}. {_WORDS}"


def for_everything_unsafe(host: GuardHost) -> str:
    """Where the verdicts do not follow the text."""
    if host.writes_prompt:
        return f"Check model= and version=: the prompt must be that of the model. {_DOUBLE_TEMPLATE} {_WORDS}"
    return f"Check model=, and whether its weights are whole. If they are: {_write_prompt(host)}. {_WORDS}"


def for_wrong_turn(host: GuardHost) -> str:
    """Where a reply's verdict is that on the prompt."""
    if host.writes_prompt:
        return f"Check version=: the prompt must be that of the model. {_DOUBLE_TEMPLATE}"
    return (
        f"The host's template names the wrong speaker, as Ollama's does, or is applied twice: {_write_prompt(host)}. "
        'Until then judge replies elsewhere: Policy(stages=["prompt"]) here.'
    )


def for_earlier_turns(host: GuardHost) -> str:
    """Where a refusal is unsafe because of what it refuses."""
    cure = _DOUBLE_TEMPLATE if host.writes_prompt else f"Or {_write_prompt(host)}."
    return (
        "Refusals of harmful prompts will be withheld; nothing harmful passes. It may be the model's own limit: try a "
        f"larger one with model=. {cure} {_WORDS}"
    )


def for_wrong_scores(host: GuardHost) -> str:
    """Where scores say the opposite of verdicts."""
    return f"Do without: {_changed(host.host, 'logprobs=None')}. Verdicts do not depend on it; thresholds do."


def for_failure(host: GuardHost, error: GuardUnavailable) -> str:
    """Where the host gave no answer at all; empty where its failure says all there is to say."""
    if error.reason == "authentication" and host.host.api_key_env:
        return f"Set {host.host.api_key_env} to a key of this host, or pass api_key=."
    if error.reason in ("invalid_request", "server") and host.endpoint == "chat":
        return f"If it is the form of the request: {_other_content(host)}. Or {_write_prompt(host)}."
    return _FOR_FAILURES.get(error.reason, "")


def _write_prompt(host: GuardHost) -> str:
    if host.host.raw_endpoint:
        return "raw_prompt=True, to have the published prompt written here"
    if host.host.api_key_env or host.host.is_router:
        return f"{host.host.name} lets nobody write the prompt; {_OTHER_HOST}"
    raw = _changed(host.host, 'raw_endpoint="completions"')
    return f"raw_prompt=True with {raw}, if it completes prompts as they are"


def _other_content(host: GuardHost) -> str:
    form = "string" if content_at(host) == "parts" else "parts"
    return _changed(host.host, f'content="{form}"')


def _changed(host: Host, change: str) -> str:
    """How to write a host with a change."""
    if host.server is not None:
        return f"host=dataclasses.replace(Embedded(...).host, {change})"
    named = next((name for name, known in KNOWN_HOSTS.items() if known.name == host.name), None)
    return f'host=Host.named("{named}", {change})' if named else f"host=Host(name=, base_url=, {change})"
