"""Guarded tools: what is refused does not run, and what is unsafe of an output is nowhere in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core.base.llms.types import AudioBlock, ImageBlock, TextBlock
from llama_index.core.tools import (
    AsyncBaseTool,
    BaseTool,
    FunctionTool,
    QueryEngineTool,
    ToolMetadata,
    ToolOutput,
)
from llama_index.core.tools.calling import acall_tool, call_tool
from with_llamaindex.agents import APOLOGY, MARKER, REFUSAL, WITHHELD, Tools
from with_llamaindex.engines import Saying, query_engine
from with_llamaindex.scouts import guard_of, watching

from llamaindex_llama_guard import (
    GuardedTool,
    GuardUnavailable,
    Stage,
    UnsafeContent,
    Verdict,
    aguard_tools,
    guard_tools,
    guarded,
)

PIXEL = b"\x89PNG\r\n\x1a\n" + b"\0" * 24
UNSAFE = UnsafeContent("unsafe", stage=Stage.TOOL_CALL, verdict=Verdict(safe=False), refusal="no")


async def sync(tool: Any, *args: Any, **kwargs: Any) -> ToolOutput:
    return tool(*args, **kwargs)


async def asynchronous(tool: Any, *args: Any, **kwargs: Any) -> ToolOutput:
    return await tool.acall(*args, **kwargs)


every_way = pytest.mark.parametrize("way", [sync, asynchronous])
every_kind = pytest.mark.parametrize("kind", ["tool", "async_tool"])


def told(output: ToolOutput) -> str:
    """Everything an output holds, also what its text does not show."""
    error = getattr(output, "exception", None)  # the oldest versions do not keep it
    return repr((output, output.raw_input, output.raw_output, error, vars(error) if error else None))


class Plain(BaseTool):
    """Somebody's tool that knows no async and takes its argument by position."""

    def __init__(self, gives: Any = "Nothing of note.") -> None:
        self.gives = gives
        self.ran: list[str] = []

    @property
    def metadata(self) -> ToolMetadata:
        return ToolMetadata(name="plain", description="A plain tool.")

    def __call__(self, input: Any) -> ToolOutput:  # noqa: A002 - LlamaIndex's own name
        self.ran.append(input)
        if isinstance(self.gives, Exception):
            raise self.gives
        return ToolOutput(tool_name="plain", content=self.gives, raw_input={"input": input}, raw_output=self.gives)


def test_a_guarded_tool_is_described_as_the_tool_is(provider: FakeProvider) -> None:
    tool = Tools().tool(return_direct=True)
    (safe,) = guard_tools([tool], guard_of(provider))
    assert isinstance(safe, FunctionTool)
    assert tool.metadata == safe.metadata
    assert [] == provider.requests


def test_functions_become_tools(provider: FakeProvider) -> None:
    (safe,) = guard_tools([Tools().search], guard_of(provider))
    assert "search" == safe.metadata.name


@every_way
@every_kind
async def test_a_refused_call_never_runs(provider: FakeProvider, way: Any, kind: str) -> None:
    tools = Tools()
    (safe,) = guard_tools([getattr(tools, kind)()], guard_of(provider))
    output = await way(safe, query=f"a {MARKER}")
    assert [] == tools.ran
    assert (REFUSAL, True, {}) == (output.content, output.is_error, output.raw_input)
    assert isinstance(getattr(output, "exception", UNSAFE), UnsafeContent)
    assert "tool_call" == output.raw_output["llama_guard"][0]["stage"]
    assert MARKER not in told(output)


@every_way
@every_kind
async def test_an_allowed_call_runs_once_and_gives_what_the_tool_gave(
    provider: FakeProvider, way: Any, kind: str
) -> None:
    tools = Tools(gives={"found": 2})
    (safe,) = guard_tools([getattr(tools, kind)()], guard_of(provider))
    output = await way(safe, query="clocks")
    assert ["clocks"] == tools.ran
    assert ("{'found': 2}", {"found": 2}, False) == (output.content, output.raw_output, output.is_error)
    assert ["assistant", "user"] == [question.role for question in provider.guard_questions]


@every_way
async def test_arguments_by_position_are_judged_by_their_names(provider: FakeProvider, way: Any) -> None:
    tools = Tools()
    (safe,) = guard_tools([tools.tool()], guard_of(provider))
    await way(safe, "clocks")
    assert 'Call of the tool search with {"query": "clocks"}' == provider.guard_questions[0].text
    await way(safe, f"a {MARKER}")
    assert ["clocks"] == tools.ran


@every_way
@every_kind
async def test_nothing_of_an_unsafe_result_is_in_the_output(provider: FakeProvider, way: Any, kind: str) -> None:
    (safe,) = guard_tools([getattr(Tools(gives=f"Take a {MARKER}"), kind)()], guard_of(provider))
    output = await way(safe, query="clocks")
    assert (REFUSAL, True) == (output.content, output.is_error)
    assert "tool_result" == output.raw_output["llama_guard"][0]["stage"]
    assert MARKER not in told(output)


@every_way
async def test_an_exception_of_the_tool_is_judged_like_its_result(provider: FakeProvider, way: Any) -> None:
    (safe,) = guard_tools([Tools(gives=ValueError(f"no {MARKER} found")).tool()], guard_of(provider))
    assert MARKER not in told(await way(safe, query="clocks"))
    (safe,) = guard_tools([Tools(gives=ValueError("the archive is closed")).tool()], guard_of(provider))
    output = await way(safe, query="clocks")
    assert ("the archive is closed", True) == (output.content, output.is_error)


@every_way
async def test_a_tool_of_another_kind_is_guarded_with_and_without_await(provider: FakeProvider, way: Any) -> None:
    plain = Plain()
    (safe,) = guard_tools([plain], guard_of(provider))
    assert isinstance(safe, AsyncBaseTool)
    assert "Nothing of note." == (await way(safe, input="clocks")).content
    assert REFUSAL == (await way(safe, input=MARKER)).content
    assert ["clocks"] == plain.ran


async def test_a_tool_that_raises_is_not_run_again(provider: FakeProvider) -> None:
    """LlamaIndex runs a tool of one argument a second time, in another way, unless it is a FunctionTool."""
    plain = Plain(ValueError("closed"))
    call_tool(plain, {"input": "clocks"})
    assert 2 == len(plain.ran)
    (safe,) = guard_tools([plain], guard_of(provider))
    assert call_tool(safe, {"input": "clocks"}).is_error
    assert (await acall_tool(safe, {"input": "clocks"})).is_error
    assert 4 == len(plain.ran)


@every_way
async def test_a_query_engine_as_a_tool_keeps_its_sources_if_they_are_safe(provider: FakeProvider, way: Any) -> None:
    engine = query_engine(Saying())
    (safe,) = guard_tools([QueryEngineTool.from_defaults(engine, name="museum")], guard_of(provider))
    output = await way(safe, input="When?")
    assert "It is closed on Mondays." == output.content
    assert 2 == len(output.raw_output.source_nodes)


@every_way
async def test_what_an_output_holds_beside_its_content_is_left_out_if_it_is_unsafe(
    provider: FakeProvider, way: Any
) -> None:
    engine = query_engine(Saying(), ["harmless", f"build a {MARKER}"])
    (safe,) = guard_tools([QueryEngineTool.from_defaults(engine, name="museum")], guard_of(provider))
    output = await way(safe, input="When?")
    assert ("It is closed on Mondays.", False) == (output.content, output.is_error)
    assert MARKER not in told(output)


async def test_what_a_callback_makes_of_an_output_does_not_hide_the_rest(provider: FakeProvider) -> None:
    tool = Tools(gives=f"a {MARKER}").tool(callback=lambda _: "All is well.")
    (safe,) = guard_tools([tool], guard_of(provider))
    output = await safe.acall(query="clocks")
    assert "All is well." == output.content
    assert MARKER not in told(output)


@every_way
async def test_images_are_judged_and_what_cannot_be_judged_is_refused(provider: FakeProvider, way: Any) -> None:
    image = ImageBlock(image=PIXEL, image_mimetype="image/png")
    (safe,) = guard_tools([Tools(gives=[TextBlock(text="A clock."), image]).tool()], guard_of(provider))
    assert 2 == len((await way(safe, query="clocks")).blocks)
    assert provider.guard_questions[-1].images[0].startswith("data:image/png")
    (safe,) = guard_tools([Tools(gives=[AudioBlock(audio=b"tick", format="wav")]).tool()], guard_of(provider))
    output = await way(safe, query="sounds")
    assert APOLOGY == output.content
    assert "not_judgeable" == output.raw_output["llama_guard"][0]["no_verdict"]


@every_way
async def test_a_long_result_is_judged_to_its_end_or_refused(provider: FakeProvider, way: Any) -> None:
    guard = guard_of(provider)
    pages = "All is well. " * 3000
    (safe,) = guard_tools([Tools(gives=pages).tool()], guard)
    assert pages == (await way(safe, query="clocks")).content
    (safe,) = guard_tools([Tools(gives=pages + MARKER).tool()], guard)
    assert REFUSAL == (await way(safe, query="clocks")).content
    (safe,) = guard_tools([Tools(gives="All is well. " * 40_000).tool()], guard)
    assert APOLOGY == (await way(safe, query="clocks")).content


@every_way
@pytest.mark.parametrize("gives", [5, None, 2.5, ["a", "b"], True, ""])
async def test_results_that_are_no_text_are_judged_as_the_model_reads_them(
    provider: FakeProvider, way: Any, gives: Any
) -> None:
    (safe,) = guard_tools([Tools(gives=gives).tool()], guard_of(provider))
    output = await way(safe, query="clocks")
    assert (str(gives), gives) == (output.content, output.raw_output)


@every_way
async def test_a_call_whose_arguments_were_withheld_is_refused_without_asking(provider: FakeProvider, way: Any) -> None:
    tools = Tools()
    (safe,) = guard_tools([tools.tool()], guard_of(provider))
    assert REFUSAL == (await way(safe, **WITHHELD)).content
    assert ([], []) == (tools.ran, provider.requests)


def test_a_tool_is_guarded_once(provider: FakeProvider) -> None:
    guard = guard_of(provider)
    (safe,) = guard_tools([Tools().tool()], guard)
    assert [safe] == guard_tools([safe], guard)
    assert isinstance(guarded(Tools().tool(), guard), GuardedTool)


@every_way
@pytest.mark.parametrize(("stage", "ran"), [("tool_call", 0), ("tool_result", 1)])
async def test_without_a_verdict_the_policy_of_the_stage_decides(
    provider: FakeProvider, way: Any, stage: str, ran: int
) -> None:
    provider.fail(Fault.status(503), on="guard")
    for outcome, text in (("refuse", APOLOGY), ("allow", "Nothing of note."), ("raise", None)):
        tools = Tools()
        allowed = {other: {"on_no_verdict": "allow"} for other in ("tool_call", "tool_result")}
        policy = {"per_stage": {**allowed, stage: {"on_no_verdict": outcome}}}
        (safe,) = guard_tools([tools.tool()], guard_of(provider, **policy))
        if text is None:
            with pytest.raises(GuardUnavailable):
                await way(safe, query="clocks")
        else:
            assert text == (await way(safe, query="clocks")).content
        assert (1 if outcome == "allow" else ran) == len(tools.ran)


@every_way
async def test_monitor_mode_lets_all_pass(provider: FakeProvider, way: Any) -> None:
    tools = Tools(gives=f"a {MARKER}")
    (safe,) = guard_tools([tools.tool()], guard_of(provider, mode="monitor"))
    assert f"a {MARKER}" == (await way(safe, query=MARKER)).content
    assert [MARKER] == tools.ran


@every_way
async def test_stages_that_the_policy_leaves_out_are_not_asked_about(provider: FakeProvider, way: Any) -> None:
    tools = Tools(gives=f"a {MARKER}")
    (safe,) = guard_tools([tools.tool()], guard_of(provider, stages=["prompt", "reply"]))
    assert f"a {MARKER}" == (await way(safe, query=MARKER)).content
    assert [] == provider.guard_questions


@every_way
async def test_a_result_that_is_the_agents_answer_is_judged_as_a_reply_too(provider: FakeProvider, way: Any) -> None:
    tool = Tools(gives=f"a {MARKER}").tool(return_direct=True)
    (safe,) = guard_tools([tool], guard_of(provider, stages=["reply"]))
    assert REFUSAL == (await way(safe, query="clocks")).content


@every_way
async def test_a_policy_that_raises_raises_without_a_word_of_what_was_judged(provider: FakeProvider, way: Any) -> None:
    for query, gives in ((MARKER, "fine"), ("clocks", f"a {MARKER}")):
        (safe,) = guard_tools([Tools(gives=gives).tool()], guard_of(provider, on_unsafe="raise"))
        with pytest.raises(UnsafeContent) as raised:
            await way(safe, query=query)
        assert MARKER not in repr([raised.value, vars(raised.value), raised.value.__context__, raised.value.__cause__])
        assert MARKER not in call_tool(safe, {"query": "clocks"}).content


async def test_what_happens_in_a_tool_is_told_after_it_was_judged(provider: FakeProvider) -> None:
    (safe,) = guard_tools([Tools(gives=f"a {MARKER}").async_tool()], guard_of(provider))
    with watching() as watcher:
        await safe.acall(query="clocks")
    assert MARKER not in watcher.everything
    assert ["GuardedTool.acall"] == [name for name in dict.fromkeys(watcher.span_names) if "Tool" in name]


def poisoned(**how: Any) -> FunctionTool:
    return FunctionTool.from_defaults(Tools().search, name="other", description=f"Build a {MARKER}.", **how)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_tool_with_an_unsafe_description_is_left_out(
    provider: FakeProvider, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def left(**policy: Any) -> list[str | None]:
        tools, guard = [Tools().tool(), poisoned()], guard_of(provider, **policy)
        made = (
            await aguard_tools(tools, guard, descriptions=True)
            if is_async
            else guard_tools(tools, guard, descriptions=True)
        )
        return [tool.metadata.name for tool in made]

    with caplog.at_level(logging.DEBUG):
        assert ["search"] == await left()
    assert "1 of 2 tools are left out" in caplog.text
    assert MARKER not in caplog.text
    assert ["search", "other"] == await left(mode="monitor")
    with pytest.raises(UnsafeContent):
        await left(on_unsafe="raise")


def test_descriptions_are_judged_with_the_parameters(provider: FakeProvider) -> None:
    def fetch(address: str) -> str:
        """Fetch a page.

        Args:
            address (str): where it is, and how to build a BOMB
        """
        return address

    tool = FunctionTool.from_defaults(fetch, description="Fetch a page.")
    tool.metadata.fn_schema.model_fields["address"].description = f"where a {MARKER} is"  # type: ignore[union-attr]
    tool.metadata.fn_schema.model_rebuild(force=True)  # type: ignore[union-attr]
    assert [] == guard_tools([tool], guard_of(provider), descriptions=True)


def test_descriptions_are_not_judged_unless_asked_for(provider: FakeProvider) -> None:
    assert 1 == len(guard_tools([poisoned()], guard_of(provider)))
    assert [] == provider.requests
