"""Mappings that say in words what a data set holds, read where the words can mean one thing only.

A wrong guess would be a wrong figure, so whatever could be read in two ways is refused, with the precise words for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llama_guard_core.errors import ConfigurationError

_COLUMN = re.compile(r"\w[\w.-]*(?: [\w.-]+){0,2}")
_LIST_OF_TURNS = re.compile(r"(\w[\w.-]*) \(a list of \w+\)")
_ALL = re.compile(r"all(?: (?P<number>[\d,]+))?(?: (?:items|prompts|rows|texts))?(?: are)? (?P<label>unsafe|safe)")
_BY_VALUE = re.compile(
    r"column `(?P<column>[^`]+)`: (?P<values>`[^`]+`(?: \([\d,]+\))?(?:(?:,| or|, or) `[^`]+`(?: \([\d,]+\))?)+)"
)
_VALUE = re.compile(r"`([^`]+)`")
_LABELLED = r"`[^`]+` (?:(?:= |is |means )?(?:unsafe|safe)|\((?:unsafe|safe)\))"
_BY_LABELLED_VALUE = re.compile(
    rf"column `(?P<column>[^`]+)`: (?P<values>{_LABELLED}(?:(?:,|;| or|, or) {_LABELLED})+)"
)
_LABELLED_VALUE = re.compile(r"`([^`]+)` (?:= |is |means )?\(?(unsafe|safe)")
_BY_TWO_VALUES = re.compile(
    r"unsafe if `?(?P<column>\w+)`? (?:is|==?) `?(?P<unsafe>\w+)`?, "
    r"safe if `?(?P=column)`? (?:is|==?) `?(?P<safe>\w+)`?"
)
_ANY_KEY = "unsafe if any of the category keys is 1"
_BY_NUMBER = re.compile(
    r"(?:`(?P<named>[^`]+)`(?P<about>[^;]*); suggested: )?unsafe if `?(?P<column>\w+)`? ?>= ?(?P<unsafe>[\d.]*\d), "
    r"safe if `?(?P=column)`? ?<= ?(?P<safe>[\d.]*\d)"
)
_DOUBT = re.compile(r"\b(?:not|no|none|never|mostly|some|many|may|but|except|unless|unsafe|safe)\b", re.IGNORECASE)
_REPLIES = ("response", "reply", "answer", "completion", "output")
_EXAMPLES: Mapping[str, str] = {
    "text_field": '"text_field": "prompt" (with "header": false, "0"), or beside it "reply_field": "response"',
    "gold": (
        '"gold": {"column": "label", "unsafe": ["bad"], "safe": ["good"]}, or "gold": "unsafe" where all rows are, '
        'or "gold": null where the label is not one of safe and unsafe, or "parts" where files differ'
    ),
    "label_field": '"label_field": "category" (one column; "{file}" for the name of the file)',
    "categories": '"categories": {"weapons": ["S9"], "spam": []}',
}


def is_described(settings: Mapping[str, Any]) -> bool:
    """Whether a mapping says its labels in words."""
    return isinstance(settings.get("gold"), str) and settings["gold"] not in {"unsafe", "safe"}


def precise(settings: Mapping[str, Any], *, shipped: bool = False) -> dict[str, Any]:
    """The precise mapping for one in words.

    Read are: in `text_field` one column, two of which the second is the reply, one with a list of turns, or the
    languages, each a column; in `gold` that all are safe or unsafe, values of a column, any of the categories' keys at
    1, or two numbers of a column.

    Args:
        settings: its keys: `name`, `text_field`, `label_field`, `gold`, `categories`, ….
        shipped: whether a precise mapping of the same name comes with this package.

    Raises:
        ConfigurationError: saying which keys to write precisely, and how.
    """
    text, told = _text_fields(settings), _told(settings)
    wrong = dict.fromkeys([*([] if text else ["text_field"]), *([told] if isinstance(told, str) else [])])
    if wrong and settings.get("categories") and not _is_column(settings.get("label_field")):
        wrong["label_field"] = None
    if text is None or isinstance(told, str):
        lines = "; ".join(f"{key} as {_EXAMPLES[key]}" for key in wrong)
        other = f'; or use the mapping "{settings["name"]}" that comes with this package' if shipped else ""
        msg = f"the mapping's words can be read in more than one way: write {lines}{other}"
        raise ConfigurationError(msg)
    kept = {key: value for key, value in settings.items() if key not in _EXAMPLES}
    return {**kept, **text, **told}


def _text_fields(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    said = settings.get("text_field")
    if not isinstance(said, str):
        return None
    if listed := _LIST_OF_TURNS.fullmatch(said):
        return {"text_field": listed[1]}
    columns = [column.strip() for column in said.split(",")]
    if not all(_COLUMN.fullmatch(column) and "column" not in column.split() for column in columns):
        return None
    if len(columns) == 1:
        return {"text_field": said}
    languages = settings.get("languages")
    if columns == (languages.split() if isinstance(languages, str) else languages):
        return {"text_field": {column: column for column in columns}}
    prompt, *replies = columns
    return {"text_field": prompt, "reply_field": replies[0]} if replies[0] in _REPLIES and not replies[1:] else None


def _told(settings: Mapping[str, Any]) -> dict[str, Any] | str:
    """The keys `gold`, `label_field` and `categories`, or which of them could not be read."""
    said = " ".join(str(settings["gold"]).split()).rstrip(".")
    categories = settings.get("categories")
    if categories is not None and not isinstance(categories, Mapping):
        return "categories"
    if said == _ANY_KEY:
        return {"gold": {"any_of": list(categories)}, "categories": categories} if categories else "categories"
    if by_value := _BY_VALUE.fullmatch(said):
        return _by_value(by_value["column"], _VALUE.findall(by_value["values"]), settings)
    gold: Any = None
    if labelled := _BY_LABELLED_VALUE.fullmatch(said):
        gold = _named_values(labelled["column"], _LABELLED_VALUE.findall(labelled["values"]))
    elif two := _BY_TWO_VALUES.fullmatch(said):
        gold = _named_values(two["column"], [(two["unsafe"], "unsafe"), (two["safe"], "safe")])
    elif (every := _ALL.fullmatch(said)) and _is_all(every["number"], settings.get("items")):
        gold = every["label"]
    elif (number := _BY_NUMBER.fullmatch(said)) and _is_about(number):
        gold = {"column": number["column"], "unsafe_from": float(number["unsafe"]), "safe_up_to": float(number["safe"])}
    return "gold" if gold is None else _with_categories(gold, settings)


def _named_values(column: str, values: list[tuple[str, str]]) -> dict[str, Any] | None:
    """The rule for values that are each said to be safe or unsafe; none where one is said to be both."""
    unsafe, safe = ([value for value, label in values if label == wanted] for wanted in ("unsafe", "safe"))
    both = set(unsafe) & set(safe)
    return {"column": column, "unsafe": unsafe, "safe": safe} if unsafe and safe and not both else None


def _is_all(number: str | None, items: Any) -> bool:
    """Whether the number of rows that are spoken of is that of all rows."""
    return number is None or items is None or int(number.replace(",", "")) == items


def _is_about(number: re.Match[str]) -> bool:
    return number["named"] in {None, number["column"]} and not _DOUBT.search(number["about"] or "")


def _by_value(column: str, values: list[str], settings: Mapping[str, Any]) -> dict[str, Any] | str:
    if set(values) == {"safe", "unsafe"}:
        return _with_categories({"column": column, "unsafe": ["unsafe"], "safe": ["safe"]}, settings)
    categories = settings.get("categories") or {}
    unsafe = [value for value in values if categories.get(value)]
    safe = [value for value in values if categories.get(value) == []]
    if not unsafe or not safe or len(unsafe) + len(safe) != len(values) or set(categories) != set(values):
        return "gold"
    named = [name.strip() for name in str(settings.get("label_field") or column).split("/")]
    if column not in named:
        return "label_field"
    gold = {"column": column, "unsafe": unsafe, "safe": safe}
    return {"gold": gold, "label_field": column, "categories": categories}


def _with_categories(gold: Any, settings: Mapping[str, Any]) -> dict[str, Any] | str:
    categories, label = settings.get("categories"), settings.get("label_field")
    if not categories:
        return {"gold": gold}
    if not _is_column(label):
        return "label_field"
    return {"gold": gold, "label_field": "{file}" if label == "file name" else label, "categories": categories}


def _is_column(said: Any) -> bool:
    return isinstance(said, str) and _COLUMN.fullmatch(said) is not None
