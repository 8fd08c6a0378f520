"""What the test of a chat model finds at hosts that do as asked, and at hosts that fail in the known ways."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault, Received, Reply, ToolCall, Usage
from several_hosts import SeveralHosts

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients, ChosenModel
from llama_guard_core.provider.connection import Connection
from llama_guard_core.self_test.chat_probes import (
    achat_self_test,
    aself_test_of,
    chat_self_test,
    self_test_of,
)
from llama_guard_core.self_test.report import Finding, SelfTest

PROBES = [
    "plain answer", "streamed answer", "streaming usage", "tool call by name", "required tool call",
    "structured output", "image", "finish reasons",
]  # fmt: skip
WEATHER = json.dumps({"city": "Bern", "degrees": 12})
every_colour = pytest.mark.parametrize("colour", ["sync", "async"])


def asks_for(received: Received) -> str:
    """Which probe a request belongs to."""
    body = received.body
    if "tools" in body:
        return "tool call by name" if isinstance(body["tool_choice"], dict) else "required tool call"
    if "response_format" in body:
        return "structured output"
    if isinstance(received.messages[-1]["content"], list):
        return "image"
    if "colour" in received.last_text:
        return "blind"
    if body["max_tokens"] == 16:
        return "finish reasons"
    return "streamed answer" if received.stream else "plain answer"


GOOD: dict[str, Reply | Fault] = {
    "plain answer": Reply("Paris."),
    "streamed answer": Reply("Spring, summer, autumn and winter."),
    "tool call by name": Reply("", (ToolCall("record_weather", WEATHER),)),
    "required tool call": Reply("", (ToolCall("record_weather", WEATHER),)),
    "structured output": Reply(WEATHER),
    "blind": Reply("I see no picture.", usage=Usage(20, 5)),
    "image": Reply("Orange.", usage=Usage(320, 2)),
    "finish reasons": Reply("Once upon a time", finish_reason="length", usage=Usage(20, 16)),
}


def host_that(**says: Reply | Fault) -> FakeProvider:
    """A host that does as asked, but for these probes, written with underscores."""
    answers = {**GOOD, **{name.replace("_", " "): said for name, said in says.items()}}
    return FakeProvider(chat=lambda received: answers[asks_for(received)])


async def report_on(*providers: FakeProvider | None, colour: str = "sync", **settings: Any) -> SelfTest:
    several = SeveralHosts(*providers)
    connections = [Connection(host=host) for host in several.hosts()]
    settings = {"model": "meta-llama/llama-4-scout", **settings}
    if colour == "sync":
        return self_test_of(ChatClients(connections, http_client=several.clients()["http_client"]), settings)
    own = several.clients()["http_async_client"]
    return await aself_test_of(AsyncChatClients(connections, http_client=own), settings)


def finding(report: SelfTest, probe: str) -> Finding:
    return next(finding for finding in report.findings if finding.probe == probe)


@every_colour
async def test_a_host_that_does_as_asked_is_found_to(colour: str) -> None:
    provider = host_that()
    report = await report_on(provider, colour=colour)
    assert dict.fromkeys(PROBES, "ok") == {found.probe: found.status for found in report.findings}
    assert not [found for found in report.findings if found.remedy]
    assert report.ok
    assert ("one", "meta-llama/llama-4-scout") == (report.host, report.model)
    assert (8, []) == (len(provider.requests), provider.violations)


SAYS = "I would rather talk about something else entirely."
AT_FAULT: list[tuple[str, dict[str, Reply | Fault], str, str, str]] = [
    ("streamed answer", {"streamed_answer": Reply("All.", deltas=("All.",))}, "not offered", "one piece", "stream"),
    ("streamed answer", {"streamed_answer": Fault.stream_error(1)}, "unknown", "The host failed", "hand"),
    ("streamed answer", {"streamed_answer": Fault.cut("in_body")}, "wrong", "broke off", "stream"),
    ("streaming usage", {"streamed_answer": Reply("a b c", usage=Usage(0, 0))}, "not offered", "no token", "whole"),
    ("tool call by name", {"tool_call_by_name": Reply(SAYS)}, "wrong", "tool_choice is ignored", "json_schema"),
    ("tool call by name", {"tool_call_by_name": Fault.status(404)}, "not offered", "status 404", "json_schema"),
    ("required tool call", {"required_tool_call": Reply(SAYS)}, "wrong", "tool_choice is ignored", "json_schema"),
    ("required tool call", {"required_tool_call": Fault.status(400)}, "not offered", "status 400", "json_schema"),
    ("required tool call", {"required_tool_call": Fault.status(403)}, "unknown", "status 403", "hand"),
    ("structured output", {"structured_output": Reply(SAYS)}, "wrong", "no JSON", "tool calls"),
    ("structured output", {"structured_output": Reply("[1]")}, "wrong", "another shape", "tool calls"),
    ("structured output", {"structured_output": Reply('{"city": "Bern"}')}, "wrong", "another shape", "tool calls"),
    ("structured output", {"structured_output": Fault.status(400)}, "not offered", "status 400", "tool calls"),
    ("image", {"image": Reply("Blue.", usage=Usage(20, 2))}, "wrong", "dropped in silence", "no images"),
    ("image", {"image": Reply("Blue.", usage=Usage(320, 2))}, "unknown", "300 tokens, and its colour was not", "hand"),
    ("image", {"image": Fault.status(404)}, "not offered", "status 404", "no images"),
    ("image", {"image": Fault.status(500, message="image input is not supported")}, "not offered", "500", "no images"),
    ("finish reasons", {"finish_reasons": Reply(SAYS, usage=Usage(20, 16))}, "wrong", "reason stop", "max_tokens"),
    ("finish reasons", {"finish_reasons": Reply("No.", usage=Usage(20, 2))}, "unknown", "no reply reached", "hand"),
]


@pytest.mark.parametrize(
    ("probe", "says", "status", "detail", "remedy"), AT_FAULT, ids=[f"{row[0]}: {row[3]}" for row in AT_FAULT]
)
async def test_a_host_at_fault_is_found_out_and_the_rest_is_tested(
    probe: str, says: dict[str, Reply | Fault], status: str, detail: str, remedy: str
) -> None:
    report = await report_on(host_that(**says))
    found = finding(report, probe)
    assert status == found.status
    assert detail in found.detail
    assert remedy in found.remedy
    others = {each.status for each in report.findings if not each.probe.startswith("stream") and each.probe != probe}
    assert {"ok"} == others
    assert ("wrong" not in [each.status for each in report.findings]) == report.ok


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        ('{"city": "Bern", "degrees": "12"}', "number written as text"),
        ('{"city": "Bern", "degrees": true}', "number written as text"),
        ('{"city": "Bern", "degrees": 12, "more": 1}', "another shape"),
        ('{"city": "Bern", ', "no JSON"),
    ],
)
@pytest.mark.parametrize("probe", ["tool_call_by_name", "required_tool_call"])
async def test_arguments_that_are_not_as_the_schema_says_are_found(probe: str, arguments: str, detail: str) -> None:
    report = await report_on(host_that(**{probe: Reply("", (ToolCall("record_weather", arguments),))}))
    found = finding(report, probe.replace("_", " "))
    assert ("wrong", True) == (found.status, detail in found.detail)


async def test_another_tool_than_the_only_one_is_found() -> None:
    report = await report_on(host_that(tool_call_by_name=Reply("", (ToolCall("other", WEATHER),))))
    assert "another tool" in finding(report, "tool call by name").detail


async def test_where_tokens_are_not_counted_the_colour_tells_whether_a_picture_was_seen() -> None:
    """The colour must not be a guess that was made without the picture, too."""
    seen = await report_on(host_that(blind=uncounted("No picture."), image=uncounted("Orange")))
    guessed = await report_on(host_that(blind=uncounted("Orange?"), image=uncounted("Orange")))
    assert ("ok", "unknown") == (finding(seen, "image").status, finding(guessed, "image").status)


def uncounted(text: str) -> Fault:
    """A whole reply whose tokens nobody has counted."""
    return Fault(
        "uncounted", lambda rendering, _: rendering.plain_answer({**rendering.completion(Reply(text)), "usage": None})
    )


@every_colour
@pytest.mark.parametrize("fault", [Fault.status(401), Fault.status(500), Fault.html(200), None], ids=str)
async def test_without_a_plain_answer_nothing_more_is_asked(colour: str, fault: Fault | None) -> None:
    provider = None if fault is None else host_that(plain_answer=fault)
    report = await report_on(provider, colour=colour)
    assert {"plain answer": "wrong", **dict.fromkeys(PROBES[1:], "unknown")} == {
        found.probe: found.status for found in report.findings
    }
    assert "Mend this first" in str(report)
    assert not report.ok
    assert provider is None or len(provider.requests) == 1


@every_colour
async def test_each_host_of_a_list_is_tested_by_itself(colour: str) -> None:
    report = await report_on(None, host_that(structured_output=Fault.status(400)), host_that(), colour=colour)
    second, third = report.others
    assert ["one", "two", "three"] == [report.host, second.host, third.host]
    assert ("wrong", True, True) == (finding(report, "plain answer").status, second.ok, third.ok)
    assert "not offered" == finding(second, "structured output").status
    assert not report.ok


async def test_the_settings_of_the_model_are_sent_but_for_those_the_probes_are_about() -> None:
    provider = host_that()
    settings = {"top_p": 0.5, "stop": ["o"], "temperature": 1.5, "max_tokens": None, "seed": None, "tools": []}
    routing = {"provider": {"only": ["deepinfra"]}}
    await report_on(provider, **settings, **routing)
    for received in provider.requests:
        body = received.body
        assert (0.5, 0, routing["provider"]) == (body["top_p"], body["temperature"], body["provider"])
        assert not {"stop", "seed"} & body.keys()
        assert body["max_tokens"] in (16, 64)


async def test_the_words_of_replies_and_keys_are_in_no_report() -> None:
    report = await report_on(host_that(structured_output=Reply(SAYS), tool_call_by_name=Reply(SAYS)))
    assert not [text for text in (SAYS, "Once upon", "key-of-one") if text in f"{report}{report!r}{report.as_dict()}"]


@every_colour
async def test_a_host_is_tested_by_its_address_alone(colour: str) -> None:
    with host_that().serve() as base_url:
        where: dict[str, Any] = {"base_url": base_url, "api_key": "k", "model": "my/model"}
        report = chat_self_test(**where) if colour == "sync" else await achat_self_test(**where)
    assert ("127.0.0.1", "my/model", True) == (report.host, report.model, report.ok)


async def test_what_cannot_be_asked_at_all_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        chat_self_test()
    with pytest.raises(ConfigurationError, match="one host's key"):
        await achat_self_test(host=["openrouter", "together"], api_key="k")
    with pytest.raises(ConfigurationError, match="no host is known"):
        chat_self_test(host="nowhere")


async def test_a_host_is_asked_for_its_own_id_of_scout() -> None:
    provider = host_that()
    several = SeveralHosts(provider)
    host = replace(several.hosts()[0], chat_model="own/scout")
    clients = ChatClients([Connection(host=host)], http_client=several.clients()["http_client"], model=ChosenModel())
    assert "own/scout" == self_test_of(clients, {"model": "meta-llama/llama-4-scout"}).model
    assert {"own/scout"} == {received.model for received in provider.requests}
