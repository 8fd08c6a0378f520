"""Where a key could turn up: the ways in which objects and exceptions are written out."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
import pprint
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from llama_guard_core.provider.local_secret import LocalSecret
from llama_guard_core.provider.private_headers import PrivateHeaders

try:
    import cloudpickle
    import rich.console
    import rich.pretty
    import rich.traceback
except ImportError:  # neither is needed for anything else; the table then says so by their absence
    cloudpickle = rich = None  # type: ignore[assignment]

_OURS = ("llama_guard_core", "langchain_llama_guard", "llamaindex_llama_guard", "key_hunt")
_WIDE = 4000


def _vars(thing: Any) -> str:
    """What `vars` shows, of all of our own objects behind it, too."""
    return repr([_state(each) for each in _reachable(thing)])


def _state(thing: Any) -> dict[str, Any]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    state = {name: getattr(thing, name, None) for name in slots if not name.startswith("__")}
    return {**state, **getattr(thing, "__dict__", {}), **(getattr(thing, "__pydantic_private__", None) or {})}


def _reachable(thing: Any) -> Iterator[Any]:
    waiting, known = [thing], {id(thing)}
    while waiting:
        one = waiting.pop()
        if isinstance(one, LocalSecret | PrivateHeaders):  # what they hold, they have to hold
            continue
        if isinstance(one, list | tuple | set | frozenset):
            parts = list(one)
        elif isinstance(one, dict):
            parts = list(one.values())
        elif type(one).__module__.partition(".")[0] in _OURS:
            yield one
            parts = list(_state(one).values())
        else:
            continue
        waiting += [part for part in parts if id(part) not in known]
        known |= set(map(id, parts))


def _rich(thing: Any) -> str:
    console = _console()
    console.print(rich.pretty.Pretty(thing, expand_all=True))
    return _written(console)


def _console() -> Any:
    return rich.console.Console(file=io.StringIO(), width=_WIDE, color_system=None)


def _written(console: Any) -> str:
    return str(console.file.getvalue())


def _as_data(thing: Any) -> str:
    """What serialising methods give: pydantic's, dataclasses', LangChain's, LlamaIndex's."""
    told: list[Any] = []
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        told.append(dataclasses.asdict(thing))
    names = ("model_dump", "model_dump_json", "dict", "json", "to_json", "to_dict", "to_payload")
    methods = [method for name in names if callable(method := getattr(thing, name, None))]
    return repr([*told, *map(_tried, methods)])


def _tried(method: Callable[[], Any]) -> Any:
    """What it gives, or what it says of why it cannot: that may show something, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return method()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return f"{error!r} {error}"


def _pickled(thing: Any) -> bytes:
    return b"".join(pickle.dumps(thing, protocol) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1))


def _copied(thing: Any) -> bytes:
    """Copies in this process keep the key, and their pickles and reprs do not show it."""
    twins = [copy.copy(thing), copy.deepcopy(thing)]
    if isinstance(thing, BaseModel):
        twins += [thing.model_copy(), thing.model_copy(deep=True)]
    return b"".join(repr(twin).encode() + _pickled(twin) for twin in twins)


OBJECT_PLACES: dict[str, Callable[[Any], str | bytes]] = {
    "repr, str, format": lambda thing: f"{thing!r} {thing!s} {thing}",
    "vars, of all that is behind it": _vars,
    "pprint": pprint.pformat,
    "serialised (model_dump, to_json, to_dict, asdict ...)": _as_data,
    "pickle, all protocols": _pickled,
    "copies, and their pickles": _copied,
    **({"rich.pretty": _rich, "cloudpickle": cloudpickle.dumps} if rich else {}),
}
"""How an object may be written out."""


def chain_of(error: BaseException) -> list[BaseException]:
    """An exception and all that hang on it, suppressed ones too."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in chain:
            chain.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return chain


def _exception(error: BaseException) -> str:
    told = ("__notes__", "errors")  # the second is a method of pydantic's: its errors keep what was wrong
    each = ((one, str(one), one.args, vars(one), *(_told(one, name) for name in told)) for one in chain_of(error))
    return f"{list(each)!r} {''.join(traceback.format_exception(error))}"


def _told(error: BaseException, name: str) -> Any:
    told = getattr(error, name, None)
    return told() if callable(told) else told


def _locals(error: BaseException) -> str:
    frames = [frame for one in chain_of(error) for frame, _ in traceback.walk_tb(one.__traceback__)]
    return repr([_tried(partial(repr, value)) for frame in frames for value in _values(frame)])


def _values(frame: Any) -> list[Any]:
    return [] if frame.f_code.co_name == "<module>" else list(frame.f_locals.values())


def _captured(error: BaseException) -> str:
    def captured(one: BaseException) -> str:
        return "".join(traceback.TracebackException.from_exception(one, capture_locals=True).format())

    # Before Python 3.12 it fails over an object whose constructor has failed.
    return "".join(str(_tried(partial(captured, one))) for one in chain_of(error))


def _by_pytest(error: BaseException) -> str:
    each = (pytest.ExceptionInfo.from_exception(one) for one in chain_of(error))
    return "".join(
        str(one.getrepr(showlocals=True, style="long", funcargs=True, truncate_locals=False, tbfilter=False))
        for one in each
    )


def _by_rich(error: BaseException) -> str:
    console = _console()
    for one in chain_of(error):
        console.print(
            rich.traceback.Traceback.from_exception(
                type(one),
                one,
                one.__traceback__,
                width=_WIDE,
                code_width=200,
                extra_lines=0,
                show_locals=True,
                locals_max_length=None,  # type: ignore[arg-type]
                locals_max_string=None,  # type: ignore[arg-type]
                locals_hide_dunder=False,
                suppress=(),
                max_frames=0,
            )
        )
    return _written(console)


QUICK_PLACES: dict[str, Callable[[BaseException], str]] = {
    "exception: str, repr, args, attributes, notes, chain": _exception,
    "locals of every frame of every traceback": _locals,
    "traceback.TracebackException(capture_locals=True)": _captured,
}
"""How an exception may be written out."""
SLOW_PLACES: dict[str, Callable[[BaseException], str]] = {
    "traceback by pytest --showlocals": _by_pytest,
    **({"traceback by rich, with locals": _by_rich} if rich else {}),
}
"""The same with the source in colour: half a second each, so not everything is looked at here."""
EXCEPTION_PLACES = {**QUICK_PLACES, **SLOW_PLACES}
