"""The libraries that do the statistics, loaded when figures are asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from llama_guard_core.errors import ConfigurationError


def library(name: str) -> Any:
    """A module of NumPy, scikit-learn or statsmodels.

    Raises:
        ConfigurationError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise _missing(name) from error


def check_libraries(*names: str) -> None:
    """Say that a library is missing before hours of judging, and not after.

    Raises:
        ConfigurationError: if one is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise _missing(name)


def _missing(name: str) -> ConfigurationError:
    package = {"sklearn": "scikit-learn"}.get(name.partition(".")[0], name.partition(".")[0])
    msg = f'evaluation needs {package}: pip install "llama-guardrails[evaluation]"'
    return ConfigurationError(msg)
