"""The key that is hunted, and the ways to give it.

No function of the hunt has it in a local variable: tracebacks with locals show those of the hunt, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from llama_guard_core import Host

MARK = "quill4harbour"
"""What is looked for: a stretch of the key."""
KEY = f"Kz7.{MARK}.81"
"""No pattern of a known host's keys fits it: it can be known for what it is by its place alone."""
VARIABLE = "KEY_HUNT_API_KEY"
_BEARER = {"Authorization": f"Bearer {KEY}", "X-Title": "Key hunt"}
_MODELS = {"guard_model": "meta-llama/llama-guard-4-12b", "chat_model": "meta-llama/llama-4-scout"}

GIVEN: dict[str, Callable[[str], dict[str, Any]]] = {
    "api_key=": lambda url: {"base_url": url, "api_key": KEY},
    "api_key=SecretStr": lambda url: {"base_url": url, "api_key": SecretStr(KEY)},
    "Host(api_key=)": lambda url: {"host": Host(name="mine", base_url=url, api_key=KEY, **_MODELS)},
    "a list of hosts": lambda url: {
        "host": [Host(name=name, base_url=url, api_key=KEY, **_MODELS) for name in ("one", "two")]
    },
    "environment": lambda url: {"host": Host(name="mine", base_url=url, api_key_env=VARIABLE, **_MODELS)},
    "default_headers=": lambda url: {"base_url": url, "default_headers": _BEARER},
    "another header": lambda url: {"base_url": url, "default_headers": {"X-Api-Key": KEY}},
    "Host(default_headers=)": lambda url: {"host": Host(name="mine", base_url=url, default_headers=_BEARER, **_MODELS)},
}
"""Settings of a guard or a model at an address, by the way in which the key is given."""


def shows(text: str | bytes) -> bool:
    """Whether a text shows the key, wherever its lines are broken."""
    whole = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return MARK.encode() in b"".join(whole.split())


@contextmanager
def key_in_environment() -> Iterator[None]:
    """Have the key in the environment variable."""
    os.environ[VARIABLE] = KEY
    try:
        yield
    finally:
        del os.environ[VARIABLE]
