"""Settings among which a key is: from the moment they are given, no local variable here holds it as plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import SecretStr, ValidatorFunctionWrapHandler, WrapValidator

from llama_guard_core.provider.local_secret import local_secret
from llama_guard_core.provider.private_headers import PrivateHeaders

T = TypeVar("T")


def _private(value: Any, checked: ValidatorFunctionWrapHandler) -> PrivateHeaders | None:
    headers = checked(value)
    stayed = value.left_behind if isinstance(value, PrivateHeaders) else frozenset()
    return None if headers is None else PrivateHeaders(headers, stayed)


HeadersField = Annotated[Mapping[str, str] | None, WrapValidator(_private)]
"""Headers as a field of a pydantic model, which would make a plain dict of them."""


def hidden(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, a key among them as a `LocalSecret`, and headers as `PrivateHeaders`."""
    return {name: _hidden(name, value) for name, value in settings.items()}


def _hidden(name: str, value: Any) -> Any:
    if name == "api_key" and isinstance(value, str | SecretStr):
        return local_secret(value)
    return PrivateHeaders.of(value) if name == "default_headers" and isinstance(value, Mapping) else value


def hides_secrets(kind: type[T]) -> type[T]:
    """Have a dataclass hide its secrets before its own `__init__` sees them: an error shows that one's variables."""
    made: Callable[..., None] = kind.__init__

    @wraps(made)
    def init(self: T, **settings: Any) -> None:
        settings = hidden(settings)
        made(self, **settings)

    kind.__init__ = init  # type: ignore[method-assign, assignment]
    return kind


class SecretSettings:
    """Mixed into a pydantic model that has the fields `api_key` and `default_headers`: it hides what they are given.

    Assigned or passed to `model_copy`, they are not validated, so it is done here.
    """

    if not TYPE_CHECKING:  # to type checkers the model's own signature stays

        def __init__(self, **settings: Any) -> None:
            settings = hidden(settings)
            super().__init__(**settings)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, _hidden(name, value))

        def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
            """A copy, with changes that are not validated."""
            update = None if update is None else hidden(update)
            return super().model_copy(update=update, deep=deep)
