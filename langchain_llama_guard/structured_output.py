"""`with_structured_output`: three ways to a schema, and none that takes a broken answer for a whole one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_llama_guard._errors import ModelRefusalError

StructuredOutputMethod = Literal["function_calling", "json_schema", "json_mode"]


def structured_output(
    model: BaseChatModel,
    schema: Any,
    *,
    method: StructuredOutputMethod,
    include_raw: bool,
    strict: bool | None,
    settings: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """The model with a parser behind it; see `ChatLlamaScout.with_structured_output`.

    Raises:
        ValueError: for an unknown method, a missing schema, or `strict` where it means nothing.
    """
    if method == "json_mode" and strict is not None:
        msg = "strict needs a schema that the host enforces: use method='json_schema' or 'function_calling'"
        raise ValueError(msg)
    if schema is None and method != "json_mode":
        msg = f"method={method!r} needs a schema"
        raise ValueError(msg)
    ways: dict[str, Callable[..., tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]]] = {
        "function_calling": _by_function_calling,
        "json_schema": _by_json_schema,
        "json_mode": _by_json_mode,
    }
    if method not in ways:
        msg = f"method is one of {', '.join(ways)}, not {method!r}"
        raise ValueError(msg)
    llm, parser = ways[method](model, schema, strict=strict, settings=settings)
    return _with_raw(llm, parser) if include_raw else llm | parser


def _by_function_calling(
    model: BaseChatModel, schema: Any, *, strict: bool | None, settings: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    name = convert_to_openai_tool(schema)["function"]["name"]
    llm = model.bind_tools(
        [schema],
        tool_choice=name,
        strict=strict,
        ls_structured_output_format=_traced(schema, "function_calling", strict),
        **settings,
    )
    if _is_model(schema):
        return llm, _PydanticTools(tools=[schema], first_tool_only=True)
    return llm, _KeyTools(key_name=name, first_tool_only=True)


def _by_json_schema(
    model: BaseChatModel, schema: Any, *, strict: bool | None, settings: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    function = convert_to_openai_tool(schema, strict=strict)["function"]
    asked = {"name": function["name"], "schema": function.get("parameters", {"type": "object", "properties": {}})}
    if function.get("description"):
        asked["description"] = function["description"]
    if strict is not None:
        asked["strict"] = strict
    llm = model.bind(
        response_format={"type": "json_schema", "json_schema": asked},
        ls_structured_output_format=_traced(schema, "json_schema", strict),
        **settings,
    )
    return llm, _json_parser(schema)


def _by_json_mode(
    model: BaseChatModel, schema: Any, *, strict: None, settings: dict[str, Any]
) -> tuple[Runnable[LanguageModelInput, AIMessage], Runnable[Any, Any]]:
    traced = {"ls_structured_output_format": _traced(schema, "json_mode", strict)} if schema is not None else {}
    return model.bind(response_format={"type": "json_object"}, **traced, **settings), _json_parser(schema)


def _traced(schema: Any, method: str, strict: bool | None) -> dict[str, Any]:  # noqa: FBT001 - a setting, not a switch
    how = {"method": method} if strict is None else {"method": method, "strict": strict}
    return {"kwargs": how, "schema": convert_to_json_schema(schema)}


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _json_parser(schema: Any) -> Runnable[Any, Any]:
    return _PydanticJson(pydantic_object=schema) if _is_model(schema) else _Json()


def _with_raw(
    llm: Runnable[LanguageModelInput, AIMessage], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    """The message beside what was parsed. LangChain's own way, a fallback, raises when streamed."""

    def parse(answer: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        try:
            return {**answer, "parsed": parser.invoke(answer["raw"], config), "parsing_error": None}
        except Exception as error:  # noqa: BLE001 - told to the caller, whatever it is
            return {**answer, "parsed": None, "parsing_error": error}

    async def aparse(answer: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        return parse(answer, config)

    return RunnableMap(raw=llm) | RunnableLambda(parse, afunc=aparse)


def require_whole(generations: list[Generation]) -> None:
    """Refuse an answer that was refused or cut: half a JSON text can parse as a valid smaller one.

    Raises:
        ModelRefusalError: the model or the guard refused.
        OutputParserException: the answer was cut at `max_tokens`.
    """
    message = generations[0].message if generations and isinstance(generations[0], ChatGeneration) else None
    if not isinstance(message, AIMessage):
        return
    finish_reason = message.response_metadata.get("finish_reason")
    if finish_reason == "content_filter" or message.additional_kwargs.get("refusal"):
        by = "Llama Guard's verdict" if "llama_guard" in message.response_metadata else "the model"
        msg = f"the reply was refused by {by}, so there is nothing to parse"
        raise ModelRefusalError(msg)
    if finish_reason == "length":
        msg = "the reply was cut at max_tokens before the structure was complete: raise max_tokens"
        raise OutputParserException(msg)


class _Json(JsonOutputParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        require_whole(result)
        return super().parse_result(result, partial=partial)


class _PydanticJson(PydanticOutputParser[Any]):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        require_whole(result)
        return super().parse_result(result, partial=partial)


class _PydanticTools(PydanticToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        require_whole(result)
        return super().parse_result(result, partial=partial)


class _KeyTools(JsonOutputKeyToolsParser):
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        require_whole(result)
        return super().parse_result(result, partial=partial)
