"""The probes that tell whether a chat model at a host does what is asked of it, and the flow that puts them."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from llama_guard_core.errors import FailureReason, ProviderError
from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.chat_clients import SCOUT, AsyncChatClients, ChatClients, ChosenModel
from llama_guard_core.provider.chunks import CompletionChunk, collected
from llama_guard_core.provider.connection import DEFAULT_TIMEOUTS, Connection, Timeouts
from llama_guard_core.provider.exchanges import Asked, Exchange, Streamed, Whole, acarry_out, carry_out
from llama_guard_core.provider.hosts import Host, require_one_key_each
from llama_guard_core.provider.known_hosts import HostLike, chosen_hosts
from llama_guard_core.provider.local_secret import local_secret
from llama_guard_core.provider.wire import Completion
from llama_guard_core.self_test.report import Finding, SelfTest, Status, in_one_report

_PROMPT = "the chat endpoint, with no guard"
_MOST_TOKENS = 64
_FEW_TOKENS = 16  # some providers refuse fewer
_NOT_TESTED = frozenset(
    {"stop", "n", "tools", "tool_choice", "response_format", "parallel_tool_calls", "stream_options"}
)
# Orange, 448 x 144 pixels: two tiles of Llama 4's, since some servers fail at one alone.
_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAcAAAACQAQMAAAClEilzAAAAA1BMVEX/jACO1N5wAAAAHklEQVR42u3BAQ0AAADCoPdPbQ8H"
    "FAAAAAAAAADwZiAQAAGkXsPmAAAAAElFTkSuQmCC"
)
_COLOUR, _ASKS_COLOUR = "orange", "Which colour is this picture? Answer with one word."
_ASKS_JSON = "Record the weather: in Bern it has 12 degrees."
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
_TOOL = {
    "type": "function",
    "function": {"name": "record_weather", "description": "Record the weather of a city.", "parameters": _SCHEMA},
}
_BY_NAME = {"type": "function", "function": {"name": "record_weather"}}

_REFUSED: frozenset[FailureReason] = frozenset({"invalid_request", "not_found"})
_NO_REPLY: frozenset[FailureReason] = frozenset({"malformed", "empty", "cut"})
_BY_HAND = "Test again, or try it by hand: this test could not tell."
_JSON_SCHEMA_INSTEAD = (
    'Ask for structured answers by their schema: with_structured_output(method="json_schema") in LangChain, '
    "should_use_structured_outputs=True in LlamaIndex. For agents, choose another host."
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a probe found; its name is the table's business."""

    status: Status
    detail: str


Request = dict[str, Any]
Probing = Generator[Asked, Any, Sequence[_Found]]


@dataclass(frozen=True, slots=True)
class _Probe:
    """What is asked, and what it tells about, with the remedy for each where it is not as it should be."""

    about: Mapping[str, str]
    run: Callable[[Host, Request], Probing]


def chat_self_test(
    *,
    host: HostLike | Sequence[HostLike] | None = None,
    base_url: str | None = None,
    model: str | None = None,
    api_key: SecretStr | str | None = None,
    timeout: float | Timeouts | None = DEFAULT_TIMEOUTS,
) -> SelfTest:
    """Tell what Llama 4 Scout, or another chat model, can do at a host, and what is wrong with it.

    Eight small requests at each host. Nothing is judged, and a good result is of today: hosts change.

    Args:
        host: where the model is; see `ChatLlamaScout` and `LlamaScout`. Each host of a list is tested.
        base_url: the address of any OpenAI-compatible host.
        model: the model's id; each host's own for Llama 4 Scout if left out.
        api_key: the host's key. Left out, it is read from that host's environment variable.
        timeout: seconds for one request, or `Timeouts`.

    Raises:
        ConfigurationError: if there is no such host, or no key.
    """
    api_key = local_secret(api_key)
    with ChatClients(_connections(host, base_url, api_key, timeout), model=ChosenModel(model or SCOUT)) as clients:
        return self_test_of(clients, {"model": model or SCOUT})


async def achat_self_test(
    *,
    host: HostLike | Sequence[HostLike] | None = None,
    base_url: str | None = None,
    model: str | None = None,
    api_key: SecretStr | str | None = None,
    timeout: float | Timeouts | None = DEFAULT_TIMEOUTS,
) -> SelfTest:
    """Tell what a chat model can do at a host; see `chat_self_test`."""
    api_key = local_secret(api_key)
    connections = _connections(host, base_url, api_key, timeout)
    async with AsyncChatClients(connections, model=ChosenModel(model or SCOUT)) as clients:
        return await aself_test_of(clients, {"model": model or SCOUT})


def self_test_of(clients: ChatClients, settings: Mapping[str, Any]) -> SelfTest:
    """Test every host of a chat model's clients, with the model's own settings.

    Args:
        clients: the clients.
        settings: the settings as fields of a request. What the probes need otherwise is left out of them.
    """
    return in_one_report([carry_out(_probing(each.host, each.model, settings), each) for each in clients.each()])


async def aself_test_of(clients: AsyncChatClients, settings: Mapping[str, Any]) -> SelfTest:
    """Test every host of a chat model's clients; see `self_test_of`."""
    return in_one_report([await acarry_out(_probing(each.host, each.model, settings), each) for each in clients.each()])


def _connections(
    host: HostLike | Sequence[HostLike] | None,
    base_url: str | None,
    api_key: SecretStr | None,
    timeout: float | Timeouts | None,
) -> list[Connection]:
    hosts = chosen_hosts(host, base_url)
    if api_key is not None:
        require_one_key_each(hosts)
    return [Connection(host=each, api_key=api_key, timeout=timeout) for each in hosts]


def _probing(host: Host, model: str, settings: Mapping[str, Any]) -> Exchange[SelfTest]:
    """All probes at one host; if it does not answer the first, the others are not put."""
    kept = {name: value for name, value in settings.items() if name not in _NOT_TESTED and value not in (None, [])}
    request = {**kept, "temperature": 0, "max_tokens": _MOST_TOKENS}
    findings: list[Finding] = []
    for probe in _PROBES:
        if findings and findings[0].status != "ok":
            findings += [Finding(name, "unknown", "not asked, since there was no plain answer") for name in probe.about]
        else:
            findings += yield from _findings(probe, host, request)
    return SelfTest(host.name, model, _PROMPT, tuple(findings))


def _findings(probe: _Probe, host: Host, request: Request) -> Generator[Asked, Any, list[Finding]]:
    try:
        found = yield from probe.run(host, request)
    except ProviderError as error:
        found = [_failed(error)] * len(probe.about)
    return [
        Finding(name, each.status, each.detail, _remedy(each, remedy))
        for (name, remedy), each in zip(probe.about.items(), found, strict=True)
    ]


def _failed(error: ProviderError) -> _Found:
    if error.reason in _REFUSED:
        return _Found("not offered", str(error))
    return _Found("wrong" if error.reason in _NO_REPLY else "unknown", str(error))


def _remedy(found: _Found, remedy: str) -> str:
    if found.status == "ok":
        return ""
    return _BY_HAND if found.status == "unknown" else remedy


def _plain_answer(_: Host, request: Request) -> Probing:
    try:
        reply: Completion = yield _asking(request, "What is the capital of France? Answer with one word.")
    except ProviderError as error:
        return [_Found("wrong", str(error))]
    counted = f", {reply.usage.input_tokens} tokens read" if reply.usage else ", tokens not counted"
    return [_Found("ok", f"answered by {reply.model or 'a model without a name'}{counted}")]


def _streamed_answer(host: Host, request: Request) -> Probing:
    options = {} if host.is_router else {"stream_options": {"include_usage": True}}
    asked = _asking({**request, **options}, "Name the four seasons.")
    chunks: list[CompletionChunk] = yield Streamed(asked.request)
    pieces, reply = sum(1 for chunk in chunks if chunk.text), collected(chunks)
    came = _Found("ok", f"in {pieces} pieces, finish reason {reply.finish_reason}")
    if pieces <= 1:
        came = _Found("not offered", "the whole answer came in one piece")
    if not reply.usage or not reply.usage.input_tokens:
        return [came, _Found("not offered", "no token counts at the end of the stream")]
    return [came, _Found("ok", f"{reply.usage.input_tokens} tokens read, {reply.usage.output_tokens} written")]


def _tool_call(choice: Any) -> Callable[[Host, Request], Probing]:
    def probe(_: Host, request: Request) -> Probing:
        reply: Completion = yield _asking({**request, "tools": [_TOOL], "tool_choice": choice}, _ASKS_JSON)
        if not reply.tool_calls:
            return [_Found("wrong", "tool_choice is ignored: the model answered in words")]
        call: ToolCall = reply.tool_calls[0]
        if call.name != "record_weather":
            return [_Found("wrong", "another tool was called than the only one there is")]
        return [_read_as_schema(call.arguments, f"called, finish reason {reply.finish_reason}", "the arguments")]

    return probe


def _structured_output(_: Host, request: Request) -> Probing:
    schema = {"name": "weather", "strict": True, "schema": _SCHEMA}
    form = {"type": "json_schema", "json_schema": schema}
    reply: Completion = yield _asking({**request, "response_format": form}, _ASKS_JSON)
    return [_read_as_schema(reply.text, "answered as the schema says", "the answer")]


def _image(_: Host, request: Request) -> Probing:
    blind: Completion = yield _asking(request, _ASKS_COLOUR)
    parts = [{"type": "text", "text": _ASKS_COLOUR}, {"type": "image_url", "image_url": {"url": _PICTURE}}]
    seeing: Completion = yield _asking(request, parts)
    named = _COLOUR in seeing.text.lower() and _COLOUR not in blind.text.lower()
    if not (blind.usage and seeing.usage):
        return [_Found("ok" if named else "unknown", f"its colour was {'' if named else 'not '}named")]
    counted = seeing.usage.input_tokens - blind.usage.input_tokens
    if counted <= 0:
        return [_Found("wrong", "the picture was dropped in silence: the prompt has as many tokens without it")]
    seen = f"the picture counts {counted} tokens, and its colour was {'' if named else 'not '}named"
    return [_Found("ok" if named else "unknown", seen)]


def _finish_reasons(_: Host, request: Request) -> Probing:
    reply: Completion = yield _asking({**request, "max_tokens": _FEW_TOKENS}, "Tell me a long story.")
    written = reply.usage.output_tokens if reply.usage else 0
    if reply.finish_reason == "length":
        return [_Found("ok", "a reply that reaches max_tokens says so")]
    if written >= _FEW_TOKENS:
        return [_Found("wrong", f"a reply that reached max_tokens has the finish reason {reply.finish_reason}")]
    return [_Found("unknown", f"no reply reached max_tokens; finish reason {reply.finish_reason}")]


def _asking(request: Request, content: Any) -> Whole:
    return Whole({**request, "messages": [{"role": "user", "content": content}]})


def _read_as_schema(text: str, seen: str, what: str) -> _Found:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return _Found("wrong", f"{what}: no JSON")
    if not isinstance(said, dict) or said.keys() != {"city", "degrees"}:
        return _Found("wrong", f"{what}: JSON of another shape than the schema's")
    if isinstance(said["city"], str) and type(said["degrees"]) is int:
        return _Found("ok", seen)
    return _Found("wrong", f"{what}: values of other types than the schema's, such as a number written as text")


_PROBES = (
    _Probe({"plain answer": "Mend this first; the rest was not asked."}, _plain_answer),
    _Probe(
        {
            "streamed answer": "Do not stream from this host: it gains nothing.",
            "streaming usage": "Take token counts from whole replies only, or choose another host.",
        },
        _streamed_answer,
    ),
    _Probe({"tool call by name": _JSON_SCHEMA_INSTEAD}, _tool_call(_BY_NAME)),
    _Probe({"required tool call": _JSON_SCHEMA_INSTEAD}, _tool_call("required")),
    _Probe(
        {"structured output": "Ask for structured answers as tool calls, the default, and check what comes."},
        _structured_output,
    ),
    _Probe({"image": "Send no images to this host, or choose a model that reads them."}, _image),
    _Probe(
        {"finish reasons": "Compare a reply's tokens with max_tokens: here half an answer looks like a whole one."},
        _finish_reasons,
    ),
)
