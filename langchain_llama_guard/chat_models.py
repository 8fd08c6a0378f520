"""ChatLlamaScout: Llama 4 Scout as a LangChain chat model, guarded from inside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from langchain_llama_guard import _guarded_generation as guarded
from langchain_llama_guard._errors import langchain_errors
from langchain_llama_guard._replies import ai_message, generation_chunk
from langchain_llama_guard._scout_checks import ScoutChecks
from langchain_llama_guard._scout_settings import given
from langchain_llama_guard._wire_messages import wire_tool_choice, wire_tools
from langchain_llama_guard.structured_output import StructuredOutputMethod, structured_output
from llama_guard_core.provider.host_field import is_written_whole
from llama_guard_core.provider.wire import Completion

# The smallest window of OpenRouter's endpoints for Scout: the advertised 1,310,720 is not served by all.
_PROFILE = ModelProfile(
    max_input_tokens=327_680,
    max_output_tokens=16_384,
    text_inputs=True,
    image_inputs=True,
    image_url_inputs=True,
    pdf_inputs=True,
    audio_inputs=False,
    video_inputs=False,
    text_outputs=True,
    image_outputs=False,
    audio_outputs=False,
    video_outputs=False,
    reasoning_output=False,
    tool_calling=True,
    tool_choice=True,
    # Scout's hosts honour a schema; that they do so beside tools, which agents would take this to mean, was
    # never shown.
    structured_output=False,
)


class ChatLlamaScout(ScoutChecks):
    """Meta's Llama 4 Scout over an OpenAI-compatible API, OpenRouter by default.

    With `guard=`, each prompt is judged before the model is called and each reply before anything outside
    the model sees it: callbacks, event streams and traces included. A streamed reply is shown as verdicts cover it,
    the way the policy's `streaming` says; a halt ends it with the refusal, finish reason `content_filter`, and closes
    the connection to the model. Of a reply that was cut so, `usage_metadata` is unknown. What was decided stands in
    `message.response_metadata["llama_guard"]`.

    Setup:
        ```bash
        pip install "llama-guardrails[langchain]"
        export OPENROUTER_API_KEY="..."
        ```

    Instantiate:
        ```python
        from langchain_llama_guard import ChatLlamaScout, LlamaGuard

        model = ChatLlamaScout(guard=LlamaGuard(), temperature=0)
        ```

    Invoke:
        ```python
        model.invoke("Name three rivers.").text
        ```

    Stream:
        ```python
        for chunk in model.stream("Name three rivers."):
            print(chunk.text, end="")
        ```

    Async:
        ```python
        await model.ainvoke("Name three rivers.")
        ```

    Tool calling:
        ```python
        model.bind_tools([get_weather]).invoke("How is the weather in Bern?").tool_calls
        ```

    Structured output:
        ```python
        model.with_structured_output(Weather).invoke("Rain in Bern, 12 degrees.")
        ```

    Image input:
        ```python
        model.invoke([HumanMessage(["What is this?", {"type": "image", "url": "https://example.com/a.png"}])])
        ```

    Usage:
        `message.usage_metadata` has the tokens, `message.response_metadata["cost"]` the price in US dollars.

    Response metadata:
        `model_name` (the model that answered), `provider`, `finish_reason`, `native_finish_reason`, `id`,
        `cost`, `llama_guard`.
    """

    # What LangChain asks of a chat model

    @property
    def _llm_type(self) -> str:
        return "llama-scout-chat"

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The argument that is a secret, and the name it is asked for by when loaded again: one for each host."""
        return {"api_key": self._hosts[0].api_key_env or "LLAMA_SCOUT_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The settings that LangChain cannot serialise, as what they can be made of again."""
        settings = {"routing": self.routing, "attribution": self.attribution}
        return {name: value.model_dump(exclude_none=True) for name, value in settings.items() if value}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may serialise it: yes, unguarded; a guarded one says that it cannot be loaded."""
        return True

    def to_json(self) -> Any:
        """The serialised model. A guarded one is not, it would be loaded unguarded; nor one at a `Host` of yours."""
        can_be_loaded = self.guard is None and is_written_whole(self.host)
        return super().to_json() if can_be_loaded else self.to_json_not_implemented()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **{"model": self.model_name, **kwargs})
        params["ls_provider"] = "llama-guardrails"
        if stopped := stop or self.stop:
            params["ls_stop"] = stopped
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        is_embedded = any(host.server for host in self._hosts)  # some other model, with a context of the user's choice
        return _PROFILE if "llama-4-scout" in self.model_name.lower() and not is_embedded else None

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - fires nothing of its own
        **kwargs: Any,
    ) -> ChatResult:
        def call() -> ChatResult:
            return _as_result(self._sync().complete(self._request(messages, stop, kwargs)))

        with langchain_errors():
            return guarded.generate(self.guard, messages, call) if self.guard else call()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - fires nothing of its own
        **kwargs: Any,
    ) -> ChatResult:
        async def call() -> ChatResult:
            return _as_result(await self._async().complete(self._request(messages, stop, kwargs)))

        with langchain_errors():
            return await (guarded.agenerate(self.guard, messages, call) if self.guard else call())

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        def chunks() -> Generator[ChatGenerationChunk, None, None]:
            with closing(self._sync().stream(self._stream_request(messages, stop, kwargs))) as pieces:
                yield from map(generation_chunk, pieces)

        opened = guarded.stream(self.guard, messages, chunks) if self.guard else chunks()
        with langchain_errors(), closing(opened) as shown:
            for chunk in shown:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async def chunks() -> AsyncGenerator[ChatGenerationChunk, None]:
            async with aclosing(self._async().stream(self._stream_request(messages, stop, kwargs))) as pieces:
                async for piece in pieces:
                    yield generation_chunk(piece)

        opened = guarded.astream(self.guard, messages, chunks) if self.guard else chunks()
        with langchain_errors():
            async with aclosing(opened) as shown:
                async for chunk in shown:
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    # What users ask of it

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools it may call.

        Args:
            tools: functions, pydantic classes, LangChain tools or JSON schemas.
            tool_choice: `"auto"`, `"none"`, `"any"` (or `"required"`), a tool's name, `True` for the only tool.
            strict: whether arguments must follow the schema, where the host honours it.
            parallel_tool_calls: whether several calls may come at once. OpenRouter does not list it among
                what Scout's hosts honour.
            **kwargs: further fields of the request, such as `response_format`.

        Raises:
            ValueError: if `tool_choice` names no tool of these, or a tool is another provider's built-in.
        """
        wired = wire_tools(tools, strict=strict)
        bound = {"tools": wired, "tool_choice": wire_tool_choice(tool_choice, wired), **kwargs}
        return self.bind(**given({**bound, "parallel_tool_calls": parallel_tool_calls if wired else None}))

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: StructuredOutputMethod = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model answering in the form of a schema.

        An answer that the model or the guard refused raises LangChain's `ModelRefusalError`; one that was cut
        at `max_tokens` raises `OutputParserException`, because half a JSON text can parse as a smaller whole.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema with a title, or an OpenAI function.
            method: `"function_calling"`, `"json_schema"` (the host enforces it) or `"json_mode"` (the prompt
                must ask for JSON).
            include_raw: return `{"raw", "parsed", "parsing_error"}` and raise nothing of the above.
            strict: whether the answer must follow the schema, where the host honours it. Not with `json_mode`.
            **kwargs: further fields of the request.
        """
        return structured_output(self, schema, method=method, include_raw=include_raw, strict=strict, settings=kwargs)

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens a text has, reckoned offline from its length."""
        return self.get_num_tokens_from_messages([HumanMessage(text)])

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """About how many tokens messages and tools have, reckoned offline from their length.

        Llama 4's tokenizer is in no package this one depends on. Four characters are taken for a token, which suits
        English prose and little else.
        """
        return count_tokens_approximately(messages, tools=[*wire_tools(tools or [])])


def _as_result(completion: Completion) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=ai_message(completion))])
