"""An exception of a chain or a model, as output: it may quote what the model wrote."""

from __future__ import annotations

from typing import Any

from langchain_llama_guard._values import text_of
from llama_guard_core.guardrail import failures


def as_output(error: Exception) -> failures.Failed:
    """An exception that is to be judged before it may be seen.

    Raises:
        LlamaGuardError: at once, if it is one of ours.
    """
    return failures.as_output(error, _texts)


def _texts(value: Any) -> list[str]:
    return [text_of(value)]
