"""What some files of a data set hold: columns, labels, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llama_guard_core.evaluation.gold import Codes, Gold, Values, references
from llama_guard_core.guardrail.verdict import Stage


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _named(value: Any) -> Any:
    """A list of columns as slices of their own names."""
    return {each.strip("{}"): each for each in _several(value)} if isinstance(value, (str, list, tuple)) else value


def _nothing_is_empty(value: Any) -> Any:
    return {} if value is None else value


Where = Mapping[str, Values]
"""Columns, and values of theirs."""
_JUDGED: Mapping[str, Stage] = {
    "reply_field": Stage.REPLY,
    "tool_call_field": Stage.TOOL_CALL,
    "tool_result_field": Stage.TOOL_RESULT,
    "document_field": Stage.DOCUMENT,
}


class Part(BaseModel):
    """What some files of a data set hold. A column is told by its name; with `header` false they are "0", "1", ….

    Where a column is named to compare or to group by (`gold`, `label_field`, `slices`, `left_out`, `only`,
    `looks_unsafe`), a text with columns in braces may stand instead. `{file}` in it is the name of a row's file without
    suffix, `{folder}` that of its folder.

    What is judged, and at which stage, is told by the column that holds it; exactly one is judged:

    - `text_field` alone: a user's prompt;
    - `reply_field`, `tool_call_field`, `tool_result_field`: that, with `text_field`, where given, as the user's turn
      before it;
    - `document_field`: a passage on its own;
    - `conversation_field`: a list of OpenAI-style messages, or its JSON text; its last role tells the stage.

    Attributes:
        files: patterns of paths relative to the data's folder, such as `*/test.csv`; `*` stands for several folders
            too. Left out, all data files there that have the judged column.
        format: `csv`, `tsv`, `jsonl`, `json`, `parquet`; `lines`, where each line is one text, whatever commas it has;
            `texts_by_label`, for one JSON object of lists of texts, read as columns `label` and `text`. Told by the
            suffix if left out.
        header: whether the first row of a CSV or TSV, or the first of `lines`, names the columns.
        records: which member of a JSON object holds the list of rows.
        text_field: a column. A list of columns, or a column that holds a list of texts: turns of the user, one after
            the other, those that are empty left out. An object of language and column: an example for each, with the
            slice `language`.
        reply_field: the assistant's reply.
        tool_call_field: the arguments of a call, as an object or a text.
        tool_result_field: what a tool gave back.
        document_field: a passage that was retrieved.
        conversation_field: a whole chat.
        image_field: a column with the path or address of a picture (or its bytes, or a list), or a template such as
            `images/{id}.png`; paths are relative to the data's folder and stay in it. The picture stands in the user's
            turn, with the text or alone. A row whose picture is not there is left out, and counted.
        tool: the name of the tool in calls and results.
        argument: the argument that the text in `tool_call_field` is given as.
        gold: `unsafe`, `safe`, null for no label, or a `Gold` rule.
        label_field: the column with the label upstream, or labels. Left out beside `any_of`, the labels are the columns
            that are 1.
        categories: the codes that are right for each label, best first; `[]` if it is outside Llama Guard's taxonomy,
            so that a row labelled unsafe does not count as a miss; null for a mixture, which has a binary figure only.
        accepted: the codes for all rows, in place of `label_field` and `categories`.
        looks_unsafe: which of the safe rows were written to look unsafe: all, or those with these values.
        slices: columns to break figures down by: a list, or an object of name and column.
        left_out: values of columns that leave a row out; null for an empty cell.
        only: values that a row must have in each of these columns, or it is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    files: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    format: Literal["csv", "tsv", "jsonl", "json", "parquet", "lines", "texts_by_label"] | None = None
    header: bool = True
    records: str | None = None
    text_field: str | tuple[str, ...] | Mapping[str, str] | None = None
    reply_field: str | None = None
    tool_call_field: str | None = None
    tool_result_field: str | None = None
    document_field: str | None = None
    conversation_field: str | None = None
    image_field: str | None = None
    tool: str = "tool"
    argument: str | None = None
    gold: Literal["unsafe", "safe"] | Gold | None = None
    label_field: str | None = None
    categories: Annotated[Mapping[str, Codes | None], BeforeValidator(_nothing_is_empty)] = Field(default_factory=dict)
    accepted: Codes | None = None
    looks_unsafe: bool | Where = False
    slices: Annotated[Mapping[str, str], BeforeValidator(_named)] = Field(default_factory=dict)
    left_out: Where = Field(default_factory=dict)
    only: Where = Field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """What is judged; of a conversation its own last role tells it."""
        return next((stage for field, stage in _JUDGED.items() if getattr(self, field)), Stage.PROMPT)

    @property
    def judged_field(self) -> str | None:
        """The column of what is judged, if it is not `text_field` alone."""
        return next((getattr(self, field) for field in (*_JUDGED, "conversation_field") if getattr(self, field)), None)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of `text_field`."""
        if isinstance(self.text_field, Mapping):
            return tuple(self.text_field.values())
        return (self.text_field,) if isinstance(self.text_field, str) else self.text_field or ()

    @property
    def first_column(self) -> str:
        """The column by which its files are known."""
        return self.judged_field or (*references(self.image_field or ""), *self.text_columns)[-1]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it names: each is in some row, or the mapping is wrong."""
        compared = [
            *self.slices.values(),
            *self.left_out,
            *self.only,
            *([self.label_field] if self.label_field else []),
        ]
        compared += self.gold.columns if isinstance(self.gold, Gold) and not self.gold.any_of else ()
        compared += self.looks_unsafe if isinstance(self.looks_unsafe, Mapping) else ()
        compared += [self.image_field] if self.image_field else []
        judged = [self.judged_field] if self.judged_field else []
        return tuple(dict.fromkeys([*self.text_columns, *judged, *(c for each in compared for c in references(each))]))

    def fault(self) -> str | None:
        """What contradicts itself in it, and what to write."""
        judged = [field for field in (*_JUDGED, "conversation_field") if getattr(self, field)]
        if not judged and not self.text_columns and not self.image_field:
            return "text_field: name the column of the prompts, or one of reply_field, conversation_field, …"
        if len(judged) > 1:
            return f"{judged[1]}: only one is judged, and {judged[0]} is given too: leave one out"
        if self.text_columns and judged and judged[0] in {"document_field", "conversation_field"}:
            return f"text_field: leave it out beside {judged[0]}, which is judged by itself"
        if self.accepted is not None and (self.label_field or self.categories):
            return "accepted: leave it out, or leave out label_field and categories"
        if self.argument and not self.tool_call_field:
            return "argument: it belongs to tool_call_field"
        return None
