"""In an agent under guard, what was refused is in no channel: no stream mode, event, callback, trace or checkpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import Fault, Reply
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from with_langchain.channels import Channels
from with_langchain.foreign_model import ForeignModel, WholeForeignModel, saying
from with_langchain.guarded_agents import CONFIG, MODES, Bench, asee, asks, call, see

from langchain_llama_guard import LlamaGuardMiddleware, Policy

MARKER = "BOMB"
LONG = "It begins harmlessly, and goes on and on like that, and then comes the BOMB, and so on."


def _foreign(bench: Bench) -> Any:
    return ForeignModel(reply=saying("Mix ", "the BOMB", " well."))


def _whole(bench: Bench) -> Any:
    return WholeForeignModel(reply=saying("Mix ", "the BOMB", " well."))


SCENES: dict[str, Callable[[], tuple[Bench, Any]]] = {
    "an unsafe reply": lambda: _of(Bench(["Mix the BOMB well."])),
    "a long reply, unsafe late": lambda: _of(Bench([LONG])),
    "a long reply, held whole": lambda: _of(Bench([LONG], policy=Policy(streaming="whole"))),
    "a reply that also calls": lambda: _of(Bench([Reply("The BOMB:", (call("read"),))])),
    "thoughts": lambda: _of(Bench([Reply("Fine.", reasoning="the BOMB first")])),
    "a foreign model": lambda: _of(Bench(), model=_foreign),
    "a foreign model that does not stream": lambda: _of(Bench(), model=_whole),
    "a call": lambda: _of(Bench([Reply("", (call("build", "a BOMB"),)), "Done."])),
    "a call beside others": lambda: _of(
        Bench([Reply("I do.", (call("read", "notes", "c0"), call("build", "a BOMB"))), "Done."])
    ),
    "a call that ends the run": lambda: _of(Bench([Reply("", (call("build", "a BOMB"),))]), exit_behavior="end"),
    "a result": lambda: _of(Bench([Reply("", (call("read"),)), "Done."], results={"read": "the BOMB"})),
    "a result that ends the run": lambda: _of(
        Bench([Reply("", (call("read"),))], results={"read": "the BOMB"}), exit_behavior="end"
    ),
    "a result that other middleware makes": lambda: _answering(Bench([Reply("", (call("read"),)), "Done."])),
    "a policy that raises": lambda: _of(Bench(["Mix the BOMB well."], policy=Policy(on_unsafe="raise"))),
    "a guard that is down": lambda: _of(_down(Bench(["Mix the BOMB well."]))),
    "a prompt beside the model": lambda: _of(Bench(["Mix the BOMB well."], policy=Policy(prompt_check="parallel"))),
}


def _of(bench: Bench, *, model: Any = None, **settings: Any) -> tuple[Bench, Any]:
    return bench, bench.agent("read", "build", model=model(bench) if model else None, **settings)


class _Answers(AgentMiddleware):
    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return ToolMessage("the BOMB", tool_call_id=request.tool_call["id"])

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return self.wrap_tool_call(request, handler)


def _answering(bench: Bench) -> tuple[Bench, Any]:
    return bench, bench.agent("read", middleware=[LlamaGuardMiddleware(bench.guard), _Answers()])


def _down(bench: Bench) -> Bench:
    for nth in (2, 3, 4):
        bench.provider.fail(Fault.status(500), on="guard", nth=nth)
    return bench


# LangSmith is told what each middleware gives by that middleware's own span, before any other middleware has it.
TOLD_BEFORE = {"a result that other middleware makes": {"LangSmith"}}


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_refused_is_seen_in_no_channel(
    scene: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels()
    _, agent = SCENES[scene]()
    with channels.open(caplog, monkeypatch):
        see(channels, agent, asks("Go on"))
    assert TOLD_BEFORE.get(scene, set()) == channels.that_saw(MARKER)
    assert {"history", "handler", "stream values"} <= {channel for channel, _ in channels.seen}


@pytest.mark.parametrize("scene", SCENES)
async def test_what_is_refused_is_seen_in_no_async_channel(
    scene: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels()
    _, agent = SCENES[scene]()
    with channels.open(caplog, monkeypatch):
        await asee(channels, agent, asks("Go on"))
    assert TOLD_BEFORE.get(scene, set()) == channels.that_saw(MARKER)
    assert {"history", "handler", "stream values"} <= {channel for channel, _ in channels.seen}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_what_is_refused_is_in_no_event(scene: str, version: str) -> None:
    channels = Channels()
    _, agent = SCENES[scene]()
    try:
        events = agent.astream_events(asks("Go on"), CONFIG, version=version)
        async for event in await events if version == "v3" else events:
            channels.note("event", event)
    except Exception as error:  # noqa: BLE001 - what it says is looked at
        channels.note("exception", error)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert channels.seen
    assert set() == channels.that_saw(MARKER)


def test_an_unsafe_prompt_is_in_the_first_checkpoint_and_in_what_shows_the_input_alone() -> None:
    """LangGraph writes the input down before any node runs. Nothing later has it."""
    channels = Channels()
    agent = Bench().agent("read")
    see(channels, agent, asks("Build a BOMB"))
    snapshots = [repr(snapshot) for snapshot in agent.get_state_history(CONFIG)]
    assert MARKER not in snapshots[0]
    assert MARKER not in repr(agent.get_state(CONFIG))


def test_the_texts_of_a_stream_come_in_pieces_and_none_after_the_cut() -> None:
    bench = Bench([LONG])
    agent = bench.agent("read")
    pieces = [piece.text for piece, _ in agent.stream(asks("Go on"), CONFIG, stream_mode="messages")]
    shown = "".join(pieces)
    assert len(pieces) > 3
    assert LONG.startswith(shown.split("\n\n")[0])
    assert shown.endswith("I can't help with that.")
    assert MARKER not in shown


def test_nothing_of_the_guards_own_is_in_the_stream() -> None:
    agent = Bench(["All is well."]).agent("read")
    shown = "".join(piece.text for piece, _ in agent.stream(asks("Go on"), CONFIG, stream_mode="messages"))
    assert "All is well." == shown


def test_without_a_guard_the_channels_do_show_it() -> None:
    """So that a test which finds nothing can be seen to look."""
    channels = Channels()
    bench = Bench(["Mix the BOMB well."])
    see(channels, bench.agent("read", middleware=[]), asks("Go on"))
    assert {"history", "handler", "tracer", *(f"stream {mode}" for mode in MODES if mode != "custom")} <= (
        channels.that_saw(MARKER)
    )


def test_what_was_decided_is_told_to_the_custom_stream_without_any_text() -> None:
    bench = Bench([Reply("", (call("build", "a BOMB"),)), "Done."])
    records = [piece["llama_guard"] for piece in bench.agent("build").stream(asks("Go"), CONFIG, stream_mode="custom")]
    assert ["prompt", "tool_call"] == [record["stage"] for record in records if record["verdict"]][:2]
    assert "BOMB" not in repr(records)


def test_no_judged_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bench = _down(Bench([Reply("", (call("build", "a BOMB"),)), "Mix the BOMB"]))
        bench.agent("build").invoke(asks("Go secretly"), CONFIG)
    assert "BOMB" not in caplog.text
    assert "secretly" not in caplog.text
