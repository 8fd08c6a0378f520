"""The libraries that do the statistics, loaded when figures are asked for."""

from __future__ import annotations

from importlib import import_module
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
        package = {"sklearn": "scikit-learn"}.get(name.partition(".")[0], name.partition(".")[0])
        msg = f'evaluation needs {package}: pip install "llama-guardrails[evaluation]"'
        raise ConfigurationError(msg) from error
