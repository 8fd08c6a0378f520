"""Pictures that a table names by path, read only inside the table's own folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image
from llama_guard_core.provider.json_text import parse_json


class ImageFiles:
    """The pictures of a table's rows. A path leads nowhere but into one folder, whatever links and dots are in it.

    A table may come from somebody else, and what it names is sent to the guard's host: hence no other folder, and no
    file that is no picture by its first bytes. It does not protect against somebody who changes the folder meanwhile,
    nor against pictures which that folder holds and the table's author should not see.

    Args:
        folder: the folder of the input; None where there is none, as for a stream: then no path is read.
        rules: the guard's own, for the size and the types; these also judge addresses, when the guard is asked.
    """

    def __init__(self, folder: str | Path | None, rules: ImageRules | None = None) -> None:
        self._folder = None if folder is None else Path(folder).resolve()
        self._rules = rules or ImageRules()

    def of(self, value: Any, stage: Stage | None = None) -> tuple[Image, ...]:
        """The pictures in a cell.

        Args:
            value: an `https://` or `http://` address or a `data:` URL, which are passed on as they are; a path, from
                the folder; the bytes; an object with `bytes` or `path`, as Hugging Face's data sets have it; a list of
                these, or its JSON text; or nothing.
            stage: what is judged, for the error.

        Raises:
            GuardUnavailable: `not_judgeable`, if a picture cannot be had. The message names no path.
        """
        return tuple(self._image(item, stage) for item in _items(value) if not _is_nothing(item))

    def _image(self, item: Any, stage: Stage | None) -> Image:
        match item:
            case str() if item[:8].lower().startswith(("https://", "http://", "data:")):
                return Image(item)
            case bytes() | {"bytes": bytes()}:
                return self._as_data(item if isinstance(item, bytes) else item["bytes"], stage)
            case str() | {"path": str()}:
                return self._as_data(self._content(item if isinstance(item, str) else item["path"], stage), stage)
        msg = "a picture is judged by address, data: URL, path or bytes: the row holds something else"
        raise _not_judgeable(msg, stage)

    def _content(self, path: str, stage: Stage | None) -> bytes:
        if self._folder is None:
            msg = "a picture by path is judged where the input is a file, from its folder: give it as a URL"
            raise _not_judgeable(msg, stage)
        try:
            file = (self._folder / path).resolve(strict=True)
            if file.is_relative_to(self._folder) and file.is_file():  # not a pipe, which might never end
                with file.open("rb") as opened:
                    return opened.read(self._rules.max_bytes + 1)
        except (OSError, ValueError, RuntimeError):  # missing, not ours to read, no possible name, a ring of links
            pass
        msg = "a picture's path leads to no file inside the input's folder that can be read"
        raise _not_judgeable(msg, stage)

    def _as_data(self, content: bytes, stage: Stage | None) -> Image:
        if len(content) > self._rules.max_bytes:
            msg = f"a picture of more than {self._rules.max_bytes} bytes is not judged"
            raise _not_judgeable(msg, stage)
        return self._rules.as_data(content, None, stage)


def _items(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            return [value]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_nothing(value: Any) -> bool:
    match value:
        case str():
            return not value.strip()
        case float():
            return math.isnan(value)
        case Mapping():
            return all(held is None for held in value.values())
        case _:
            return value is None


def _not_judgeable(message: str, stage: Stage | None) -> GuardUnavailable:
    return GuardUnavailable(message, reason="not_judgeable", stage=stage)
