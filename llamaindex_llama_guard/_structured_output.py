"""Structured answers of a guarded LLM: a refusal is no answer in a schema, so it is raised by its name.

LlamaIndex would call it a parsing error or, in a stream, hand on an object with nothing in it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Generator
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.program.utils import process_streaming_objects
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from llama_guard_core.guardrail.policy import OnNoVerdict, Policy
from llamaindex_llama_guard._guard_field import GuardField

# LlamaIndex puts a span around each override by itself; around its own method there would be a second.
_structured_predict = inspect.unwrap(LLM.structured_predict)
_astructured_predict = inspect.unwrap(LLM.astructured_predict)
_DECIDED_HERE = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
_BY_FUNCTION = (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)


class StructuredPredictions(FunctionCallingLLM):
    """An LLM with a guard whose structured answers are either whole and judged, or an exception."""

    # An argument that is spelled wrongly must not be passed over: it might be the guard. What pydantic builds of the
    # fields takes a while, and is left to whoever makes the first LLM of the kind.
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    guard: GuardField = None

    def _twin(self, **changes: Any) -> Self:
        """The same LLM, on the same connections, with other settings."""
        return self.model_copy(update=changes)

    def _response_format(self, output_cls: type[BaseModel]) -> dict[str, Any] | None:  # noqa: ARG002 - for overrides
        """The `response_format` to ask with, where the host is to enforce the schema."""
        return None

    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Answer in the form of a pydantic class.

        Raises:
            UnsafeContent: if the guard refused the prompt or the answer.
            GuardUnavailable: if it refused because no verdict could be had.
        """
        llm, kwargs = self._asking(output_cls, llm_kwargs)
        return _structured_predict(llm, output_cls, prompt, kwargs, **prompt_args)

    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Answer in the form of a pydantic class; see `structured_predict`."""
        llm, kwargs = self._asking(output_cls, llm_kwargs)
        return await _astructured_predict(llm, output_cls, prompt, kwargs, **prompt_args)

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        llm, kwargs = self._asking(output_cls, llm_kwargs)
        messages = _messages(llm, prompt, prompt_args)
        if "response_format" in kwargs:
            return _parsed(llm.stream_chat(messages, **kwargs), output_cls, llm)
        if _asks_by_function(llm):
            tools = [get_function_tool(output_cls)]
            responses = llm.stream_chat_with_tools(tools, chat_history=messages, tool_required=True, **kwargs)
            return _parsed(responses, output_cls, llm)
        return super(StructuredPredictions, llm)._structured_stream_call(output_cls, prompt, kwargs, **prompt_args)

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        llm, kwargs = self._asking(output_cls, llm_kwargs)
        messages = _messages(llm, prompt, prompt_args)
        if "response_format" in kwargs:
            return _aparsed(await llm.astream_chat(messages, **kwargs), output_cls, llm)
        if _asks_by_function(llm):
            tools = [get_function_tool(output_cls)]
            responses = await llm.astream_chat_with_tools(tools, chat_history=messages, tool_required=True, **kwargs)
            return _aparsed(responses, output_cls, llm)
        return await super(StructuredPredictions, llm)._structured_astream_call(
            output_cls, prompt, kwargs, **prompt_args
        )

    def _asking(self, output_cls: type[BaseModel], llm_kwargs: dict[str, Any] | None) -> tuple[Self, dict[str, Any]]:
        """The LLM to ask, which raises where this one refuses, and what to ask it with."""
        changes: dict[str, Any] = {}
        kwargs = {name: value for name, value in (llm_kwargs or {}).items() if name not in _DECIDED_HERE}
        if self.guard is not None:
            changes["guard"] = self.guard.with_policy(_raising(self.guard.policy))
        if response_format := self._response_format(output_cls):
            changes["pydantic_program_mode"] = PydanticProgramMode.LLM
            kwargs.setdefault("response_format", response_format)
        return (self._twin(**changes) if changes else self), kwargs


def json_schema_format(output_cls: type[BaseModel]) -> dict[str, Any]:
    """A pydantic class as the `response_format` of a chat-completions request."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", output_cls.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": output_cls.model_json_schema()}}


def _asks_by_function(llm: LLM) -> bool:
    return llm.pydantic_program_mode in _BY_FUNCTION and llm.metadata.is_function_calling_model


def _messages(llm: LLM, prompt: PromptTemplate, prompt_args: dict[str, Any]) -> list[ChatMessage]:
    return llm._extend_messages(prompt.format_messages(llm=llm, **prompt_args))  # noqa: SLF001 - as its own programs do


def _raising(policy: Policy) -> Policy:
    def otherwise(on_no_verdict: OnNoVerdict | None) -> OnNoVerdict | None:
        return "raise" if on_no_verdict == "refuse" else on_no_verdict

    per_stage = {
        stage: rules.model_copy(
            update={"on_unsafe": rules.on_unsafe and "raise", "on_no_verdict": otherwise(rules.on_no_verdict)}
        )
        for stage, rules in policy.per_stage.items()
    }
    changes = {"on_unsafe": "raise", "on_no_verdict": otherwise(policy.on_no_verdict), "per_stage": per_stage}
    return policy.model_copy(update=changes)


def _parsed(
    responses: Generator[ChatResponse, None, None], output_cls: type[BaseModel], llm: FunctionCallingLLM
) -> Generator[Any, None, None]:
    """What there is of the answer at each step: LlamaIndex's own program leaves it to the model to call the tool."""
    known: list[BaseModel] | None = None
    for response in responses:
        parsed = process_streaming_objects(response, output_cls, cur_objects=known, llm=llm)
        known = [parsed] if isinstance(parsed, BaseModel) else known
        yield parsed


async def _aparsed(
    responses: AsyncGenerator[ChatResponse, None], output_cls: type[BaseModel], llm: FunctionCallingLLM
) -> AsyncGenerator[Any, None]:
    """What there is of the answer at each step; see `_parsed`."""
    known: list[BaseModel] | None = None
    async for response in responses:
        parsed = process_streaming_objects(response, output_cls, cur_objects=known, llm=llm)
        known = [parsed] if isinstance(parsed, BaseModel) else known
        yield parsed
