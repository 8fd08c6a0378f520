"""The `host` of a chat model as a field of a pydantic model: written out as names and addresses, never with a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import HostLike

_NOTES = ("Host(", "Embedded(")


def is_written_whole(host: HostLike | Sequence[HostLike] | None) -> bool:
    """Whether what is written out of it is all there is to it: so it is with names and addresses."""
    each = [host] if host is None or isinstance(host, str | Host | Embedded) else host
    return all(one is None or isinstance(one, str) for one in each)


def _read(value: Any) -> Any:
    if value is None or isinstance(value, Host | Embedded):
        return value
    if isinstance(value, str):
        return _no_note(value)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        msg = "a host is a name, an address, a Host or an Embedded, or a list of these"
        raise ValueError(msg)  # noqa: TRY004 (what pydantic makes a validation error of)
    return [_read(each) for each in value]


def _no_note(name: str) -> str:
    if name.startswith(_NOTES):
        msg = "a Host or an Embedded is not made from its description: pass the object itself, as host=..."
        raise ValueError(msg)
    return name


def _written(host: HostLike | Sequence[HostLike] | None) -> Any:
    if host is None or isinstance(host, str):
        return host
    if isinstance(host, Host):
        return f"Host(name={host.name!r}, base_url={host.base_url!r})"
    return repr(host) if isinstance(host, Embedded) else [_written(each) for each in host]


if TYPE_CHECKING:
    HostField = HostLike | Sequence[HostLike] | None
else:
    HostField = Annotated[Any, BeforeValidator(_read), PlainSerializer(_written)]  # pydantic would take records apart
"""One host or a list of them, or none for OpenRouter. A dict has names and addresses as they are; of a `Host` or an
`Embedded` it has a note without a key. A model that is made of such a note says that it wants the host itself."""
