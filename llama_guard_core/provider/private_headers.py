"""Headers that a user adds to every request: they may hold a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typing_extensions import Self

from llama_guard_core.provider.local_secret import LocalSecret

_HOLDS_A_KEY = re.compile(r"auth|key|token|secret|cookie|passw|credential", re.IGNORECASE)


def holds_a_key(name: str) -> bool:
    """Whether a header of this name may hold a key, such as `Authorization`, `X-Api-Key` or `Cookie`."""
    return _HOLDS_A_KEY.search(name) is not None


class PrivateValue(bytes):
    """A header's value that is not shown."""

    def __repr__(self) -> str:
        return "b'**********'"

    __str__ = __repr__


class PrivateHeaders(Mapping[str, str]):
    """Headers whose values no repr shows. A pickle leaves those behind that may hold a key.

    Attributes:
        left_behind: names, in lower case, of those that a pickle did not bring.

    Args:
        headers: the headers.
        left_behind: see above.
    """

    def __init__(self, headers: Mapping[str, str], left_behind: frozenset[str] = frozenset()) -> None:
        self._values = dict(headers)
        self.left_behind = left_behind

    @classmethod
    def of(cls, headers: Mapping[str, str] | None) -> PrivateHeaders:
        """What was given, as private headers; none where it is None."""
        return headers if isinstance(headers, PrivateHeaders) else cls(headers or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self))})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Self:
        return self

    def over(self, others: Mapping[str, str]) -> PrivateHeaders:
        """These together with others, which they replace where they have the same name."""
        return PrivateHeaders({**others, **self}, self.left_behind)

    @property
    def secrets(self) -> list[LocalSecret]:
        """What may be a key: values, and what stands behind the scheme in them."""
        values = [value for name, value in self.items() if holds_a_key(name)]
        return [LocalSecret(each) for value in values for each in (value, value.partition(" ")[2].strip()) if each]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        travel = {name: value for name, value in self.items() if not holds_a_key(name)}
        return type(self), (travel, self.left_behind | {name.lower() for name in self if holds_a_key(name)})
