"""A secret that stays in the process it was given to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr
from typing_extensions import Self


class LocalSecret(SecretStr):
    """A key that no repr shows and no pickle holds.

    Copies inside the process keep it. What a pickle brings elsewhere is an empty one that knows it was left behind.
    """

    is_left_behind = False

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return left_behind, ()


class _LeftBehind(LocalSecret):
    is_left_behind = True


def left_behind() -> LocalSecret:
    """What stands for a secret where a pickle did not bring it."""
    return _LeftBehind("")


def stripped(secret: SecretStr) -> LocalSecret:
    """The same without the blanks around it: keys are often copied with one."""
    return LocalSecret(secret.get_secret_value().strip())


def local_secret(given: SecretStr | str | None) -> LocalSecret | None:
    """What was given, as a secret of this process."""
    if given is None or isinstance(given, LocalSecret):
        return given
    return LocalSecret(given if isinstance(given, str) else given.get_secret_value())
