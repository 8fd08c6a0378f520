"""One run of a guarded tool: what is judged of it, and what may be shown of its output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import ToolOutput

from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.guardrail.decisions import Refuse, decision_record, refusal_error
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import GuardedToolRun, guarded_tool, screen_tool_result
from llama_guard_core.messages import Conversation, Message, Text, ToolCall, assistant
from llamaindex_llama_guard._conversation import arguments_text, call_key, conversation_of, parts_of
from llamaindex_llama_guard._failures import as_output, texts_in
from llamaindex_llama_guard._reply_form import METADATA_KEY

ASKED_KEY = "llama_guard_asked"
"""Where a guarded agent's context keeps the conversation that ends with the calls it is about to make."""
_INPUT_NAMES = {"args", "kwargs", "input"}  # under which LlamaIndex's own tools note what they were given
_MEMORY_KEY, _SCRATCHPAD_KEY = "memory", "scratchpad"

try:
    from workflows.runtime.types.results import WaitingForEvent
except ImportError:  # in older versions of workflows a tool waits without one
    _PAUSES: tuple[type[Exception], ...] = ()
else:
    _PAUSES = (WaitingForEvent,)

Run = GuardedToolRun[ToolOutput | Failed]


async def conversation_in(context: Any) -> Conversation:
    """The conversation that an agent is in, by its workflow's context; empty where there is none."""
    if (store := getattr(context, "store", None)) is None:
        return ()
    asked: Sequence[ChatMessage] | None = await store.get(ASKED_KEY, default=None)
    if asked is None:
        memory = await store.get(_MEMORY_KEY, default=None)
        remembered = [] if memory is None else await memory.aget_all()
        asked = [*remembered, *(await store.get(_SCRATCHPAD_KEY, default=[]))]
    return conversation_of(asked)


def call_of(name: str, function: Callable[..., Any], args: Sequence[Any], arguments: Mapping[str, Any]) -> ToolCall:
    """A call as it is about to be carried out."""
    return ToolCall("", name, arguments_text({**_named(function, args), **arguments}))


def guarded_run(policy: Policy, conversation: Conversation, call: ToolCall, *, is_answer: bool) -> Flow[Run]:
    """Judge a call, run the tool if that is allowed, judge all of what it gave.

    Args:
        policy: what is judged and what follows.
        conversation: the chat, with or without the message that asks for the call.
        call: the call.
        is_answer: whether what the tool gives is shown to the user as the agent's answer, and so is a reply too.
    """
    asking, asked = _asked(conversation, call)
    run: Run = yield from guarded_tool(policy, asking, asked, _result_message, is_answer=is_answer)
    output = run.result
    if run.refusal or not isinstance(output, ToolOutput):
        return run
    if not _is_input_of(call, output.raw_input):
        output = output.model_copy(update={"raw_input": {}})
        run = replace(run, result=output)
    if beside := _beside(output):
        decision = yield from screen_tool_result(policy, asking, Message("tool", beside))
        if isinstance(decision, Refuse):
            return replace(run, result=_content_alone(output))
    return run


def output_of(run: Run, tool_name: str) -> ToolOutput:
    """What the caller of a guarded tool is given. It is never an exception: LlamaIndex would run some tools again."""
    if refusal := run.refusal:
        return _error(tool_name, refusal.text, {METADATA_KEY: [decision_record(refusal)]}, refusal_error(refusal))
    if isinstance(run.result, Failed):
        error = run.result.error
        said = str(error) or type(error).__name__  # hosts take no empty messages
        return _error(tool_name, said, said, error)
    assert run.result is not None  # noqa: S101 - a tool that was not refused has run
    is_named = run.result.tool_name == tool_name  # nobody judges what a tool calls itself
    return run.result if is_named else run.result.model_copy(update={"tool_name": tool_name})


def _error(tool_name: str, content: str, raw_output: Any, exception: Exception) -> ToolOutput:
    output = ToolOutput(tool_name=tool_name, content=content, raw_input={}, raw_output=raw_output, is_error=True)
    if hasattr(output, "exception"):  # the oldest versions do not keep it
        output._exception = exception  # noqa: SLF001 - what the constructor of newer versions does
    return output


def failed(error: Exception) -> Failed:
    """What a tool raised, as its output.

    Raises:
        Exception: at once, if it is one of ours, or LlamaIndex's own to pause a run for a human's answer.
    """
    if isinstance(error, _PAUSES):
        raise error
    return as_output(error)


def _result_message(output: ToolOutput | Failed) -> Message:
    parts = (output.part,) if isinstance(output, Failed) else parts_of(output.blocks)
    return Message("tool", parts)


def _asked(conversation: Conversation, call: ToolCall) -> tuple[Conversation, ToolCall]:
    """The chat that ends with the message asking for the call, and the call as that message has it.

    A tool is not told the id of its call.
    """
    if conversation and conversation[-1].role == "assistant":
        for asked in conversation[-1].tool_calls:
            if call_key(replace(asked, id="")) == call_key(call):
                return conversation, asked
    return (*conversation, assistant("", (call,))), call


def _is_input_of(call: ToolCall, raw_input: Any) -> bool:
    """Whether what a tool says that it was given is what was judged."""
    return all(text in _INPUT_NAMES or _is_said(text, call.arguments) for text in texts_in(raw_input))


def _beside(output: ToolOutput) -> tuple[Text, ...]:
    """What an output holds that its content does not say, such as the sources of an answer."""
    content = output.content
    is_content = output.blocks in (output.raw_output, [output.raw_output])
    said = [] if is_content else [*texts_in(output.raw_output)]
    error: Exception | None = getattr(output, "exception", None)
    if error and not isinstance(error, LlamaGuardError):  # ours quote nobody
        said.append(as_output(error).text)
    new = (text for text in dict.fromkeys(said) if text.strip() and not _is_said(text, content))
    return tuple(map(Text, new))


def _is_said(text: str, content: str) -> bool:
    """Whether a content has a text, as it is or as Python writes it out in a dict or a list."""
    return text in content or repr(text)[1:-1] in content


def _content_alone(output: ToolOutput) -> ToolOutput:
    """The output as the model reads it, and nothing beside that."""
    return ToolOutput(
        tool_name=output.tool_name,
        blocks=output.blocks,
        raw_input={},
        raw_output=output.content,
        is_error=output.is_error,
    )


def _named(function: Callable[..., Any], args: Sequence[Any]) -> dict[str, Any]:
    """Arguments by position, by the names they have for the function."""
    if not args:
        return {}
    try:
        return dict(inspect.signature(function).bind_partial(*args).arguments)
    except (TypeError, ValueError):
        return {"args": list(args)}
