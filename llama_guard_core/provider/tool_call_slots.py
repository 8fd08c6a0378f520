"""Streamed tool calls: which fragment belongs to which call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_guard_core.provider.tool_arguments import arguments_of, split_objects
from llama_guard_core.provider.wire import as_dict, text_or_none


@dataclass(frozen=True, slots=True)
class ToolCallFragment:
    """A piece of a tool call.

    Attributes:
        index: which call of this reply, counted 0, 1, 2 by us: hosts repeat, skip and omit theirs.
        id: the call's opaque id, on its first fragment only.
        name: the tool's name, on its first fragment only.
        arguments: more of the arguments' JSON text.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = field(default="", repr=False)


@dataclass(slots=True)
class _Slot:
    index: int
    inherited_name: str = ""
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    def holds_a_whole_object(self) -> bool:
        text = "".join(self.pieces).strip()
        if not text.endswith("}"):
            return False
        try:
            return isinstance(json.loads(text, strict=False), dict)
        except (ValueError, RecursionError):
            return False


class ToolCallSlots:
    """Sorts the fragments of one reply.

    A host's index may start anywhere, have gaps, stay 0 for every call, or be missing. A different id on a used
    index starts a new call; so does, where a host sends no ids, a second object after a complete one.
    """

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._by_host_index: dict[int, _Slot] = {}

    def receive(self, call: Mapping[str, Any]) -> tuple[ToolCallFragment, ...]:
        """Take one entry of a delta's `tool_calls` and return what is new in it."""
        function = as_dict(call.get("function"))
        host_index = call["index"] if isinstance(call.get("index"), int) else None
        call_id, name = text_or_none(call.get("id")) or "", text_or_none(function.get("name")) or ""
        first, *others = split_objects(arguments_of(function))
        slot = self._current(host_index)
        if slot is None or _is_another_call(slot, call_id, name, first):
            slot = self._open(host_index, inherited_name=slot.name if slot and not call_id else "")
        fragments = [_fragment(slot, call_id, name, first)]
        for arguments in others:
            slot = self._open(host_index, inherited_name=slot.name)
            fragments.append(_fragment(slot, "", "", arguments))
        return tuple(fragment for fragment in fragments if fragment is not None)

    def missing_arguments(self) -> tuple[ToolCallFragment, ...]:
        """The arguments of every call that got none: `{}`."""
        return tuple(
            ToolCallFragment(slot.index, arguments="{}") for slot in self._slots if not "".join(slot.pieces).strip()
        )

    def _current(self, host_index: int | None) -> _Slot | None:
        if host_index is not None:
            return self._by_host_index.get(host_index)
        return self._slots[-1] if self._slots else None

    def _open(self, host_index: int | None, inherited_name: str) -> _Slot:
        slot = _Slot(len(self._slots), inherited_name=inherited_name)
        self._slots.append(slot)
        if host_index is not None:
            self._by_host_index[host_index] = slot
        return slot


def _is_another_call(slot: _Slot, call_id: str, name: str, arguments: str) -> bool:
    if call_id and slot.id:
        return call_id != slot.id
    if call_id and name and slot.name:
        return True
    return arguments.lstrip().startswith("{") and slot.holds_a_whole_object()


def _fragment(slot: _Slot, call_id: str, name: str, arguments: str) -> ToolCallFragment | None:
    """What this fragment adds to its call; the id and the name count once."""
    new_id = call_id if call_id and not slot.id else None
    new_name = (name or slot.inherited_name) if not slot.name else ""
    slot.id, slot.name = slot.id or call_id, slot.name or new_name
    if arguments:
        slot.pieces.append(arguments)
    if not (new_id or new_name or arguments):
        return None
    return ToolCallFragment(slot.index, new_id, new_name or None, arguments)
