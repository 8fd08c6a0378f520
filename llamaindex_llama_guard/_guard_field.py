"""The guard as a field of a LlamaIndex component: written out as a note, and never lost on the way back.

LlamaIndex writes components out as dicts (for events, for cache keys) and leaves out of a pickle, with a word in the
log, what it cannot take. Either would bring a guarded model back unguarded.
"""

from __future__ import annotations

import pickle
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, SkipValidation

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError


def _guard(value: Any) -> LlamaGuard | None:
    if value is None or isinstance(value, LlamaGuard):
        return value
    msg = "a guard is not made from its description: pass one, from_dict(settings, guard=LlamaGuard(...))"
    raise ValueError(msg)


GuardField = Annotated[
    SkipValidation[LlamaGuard | None],
    BeforeValidator(_guard),
    PlainSerializer(lambda guard: repr(guard) if guard else None),
]
"""A guard or none. A dict says which it was; made from that dict again, the component asks for the guard itself."""


def require_picklable(**kept: Any) -> None:
    """See to it that a pickle keeps what it must not leave out.

    Raises:
        ConfigurationError: if one of these cannot be pickled.
    """
    try:
        pickle.dumps(kept)
    except Exception as error:
        msg = (
            f"the {' or the '.join(kept)} cannot be pickled, and without it the copy would be another: leave out of it "
            "what cannot travel, such as an http_client or a lambda, or make the LLM where it is used"
        )
        raise ConfigurationError(msg) from error
