"""What the files of a data set hold, said precisely enough to run any set from it alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator
from typing_extensions import Self

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.described import is_described, precise
from llama_guard_core.evaluation.gold import Gold, mapping_error
from llama_guard_core.evaluation.parts import Part
from llama_guard_core.written import printable


class DatasetMapping(Part):
    """What a data set is, and what its files hold.

    Frozen, checked as a whole when made. `gold` must be said, if only as null; see `Part` for the other keys.

    Attributes:
        name: of the set.
        kind: what its items are, in words.
        languages: of its texts, in words.
        source: where it is from.
        licence: of its data.
        remarks: what figures on it do not say.
        items: how many examples there are; another number is a warning.
        parts: what differs for groups of its files, each with `files`: keys of `Part`, which replace those beside.

    Example:
        ```python
        DatasetMapping(
            name="mine",
            text_field="question",
            gold=Gold(column="label", unsafe=("bad",), safe=("good",)),
            label_field="topic",
            categories={"weapons": ("S9", "S1"), "spam": ()},
        )
        ```
    """

    name: str
    kind: str = ""
    languages: str | tuple[str, ...] = ""
    source: str = ""
    licence: str = ""
    remarks: tuple[str, ...] = ()
    items: int | None = None
    parts: tuple[Mapping[str, Any], ...] = ()

    def groups(self) -> tuple[Part, ...]:
        """The parts, each whole: what is said for all, with what is said for it."""
        said = {name: getattr(self, name) for name in Part.model_fields if name in self.model_fields_set}
        return tuple(Part.model_validate({**said, **part}) for part in self.parts or ({},))

    @model_validator(mode="after")
    def _each_part_is_whole(self) -> Self:
        try:
            groups = self.groups()
        except ValidationError as error:
            fault = f"a part is wrong: {_faults(error, Part)}"
            raise mapping_error(fault) from None
        faults = [group.fault() for group in groups] + [_UNSAID for g in groups if "gold" not in g.model_fields_set]
        for found in filter(None, faults):
            raise mapping_error(found)
        return self

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Self:
        """A mapping from what a JSON file or a dict says; words are read where they can mean one thing only.

        Raises:
            ConfigurationError: naming each key that is wrong, and what it may be.
        """
        if is_described(settings):
            settings = precise(settings, shipped=settings.get("name") in shipped_mappings())
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            name = printable(str(settings.get("name", ""))[:60])
            msg = f"the mapping {name} cannot be used: {_faults(error, cls)}"
        raise ConfigurationError(msg)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """A mapping from a JSON file.

        Raises:
            ConfigurationError: if there is none, or it is wrong.
        """
        return cls.from_mapping(_object_in(Path(path)))


def shipped_mappings() -> tuple[str, ...]:
    """The names of the mappings of public sets that come with this package, in alphabetical order."""
    return tuple(sorted(Path(file.name).stem for file in _MAPPINGS.iterdir() if file.name.endswith(".json")))


def mapping_of(given: DatasetMapping | Mapping[str, Any] | str | Path) -> DatasetMapping:
    """A mapping from whatever says it.

    Args:
        given: a mapping, the keys of one, the path of a JSON file, or the name of one that comes with this package. A
            name is taken for a path only where there is such a file.

    Raises:
        ConfigurationError: if there is no such mapping, or it is wrong.
    """
    if isinstance(given, DatasetMapping):
        return given
    if isinstance(given, Mapping):
        return DatasetMapping.from_mapping(given)
    if str(given) in shipped_mappings() and not Path(given).is_file():
        return DatasetMapping.from_mapping(json.loads((_MAPPINGS / f"{given}.json").read_text("utf-8")))
    if not Path(given).is_file():
        msg = f"there is no mapping {given}: give the path of a JSON file, or one of {', '.join(shipped_mappings())}"
        raise ConfigurationError(msg)
    return DatasetMapping.from_file(given)


_UNSAID = 'gold: say "unsafe" or "safe" where all rows are, null where they have no label, or give a rule'
_MAPPINGS = resources.files("llama_guard_core.evaluation") / "mappings"


def _object_in(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        msg = f"the mapping {path} cannot be read: {error.strerror}"
    except ValueError:
        msg = f"the mapping {path} is no JSON in UTF-8"
    else:
        if isinstance(read, dict):
            return read
        msg = f"the mapping {path} is no JSON object: it begins with a brace and names its keys"
    raise ConfigurationError(msg)


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    told = list(dict.fromkeys(_fault(each, model) for each in error.errors(include_input=False, include_url=False)))
    return printable("; ".join(told))


def _fault(each: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(step) for step in each["loc"] if step not in {"Gold", "literal['unsafe','safe']"})
    if each["type"] == "extra_forbidden":
        known = Gold.model_fields if str(each["loc"][0]) == "gold" else model.model_fields
        return f"{where}: there is no such key; there are {', '.join(known)}"
    return f"{where}: {each['msg']}" if where else str(each["msg"])
