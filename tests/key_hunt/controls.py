"""The same hunt where a key was planted: it has to be found in every place."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from langchain_core.load import dumps
from langchain_core.prompts import PromptTemplate
from pydantic import BaseModel

from key_hunt import files, hunt, langchain_things, llamaindex_things, processes
from key_hunt.core_things import stored_verdicts
from key_hunt.failing_calls import look_at, raised
from key_hunt.hosts import FailingHost
from key_hunt.keys import GIVEN, KEY
from key_hunt.tally import Tally

_OF_ANY_KEY = f"headers:\n  x-api-key:\n  - {KEY}\n"


class Planted(BaseModel):
    """An object that shows its key."""

    key: str = KEY


def _raises() -> None:
    key = KEY
    raise RuntimeError(key)


def planted() -> Tally:
    """Look where a key is."""
    tally = Tally()
    hunt.look_at_object(tally, Planted(), "planted")
    if (error := raised(_raises)) is not None:
        look_at(tally, error, "planted", "", slowly=True)
    with hunt.listening(tally):
        logging.getLogger("planted").debug("a key: %s", KEY)
    tally.look(hunt.DUMPED, "planted", dumps(PromptTemplate.from_template(KEY)))
    with FailingHost().serve() as host:
        told: Any
        for told in (langchain_things.told_by_runs, llamaindex_things.told_by_runs):
            for place, name, text in partial(told, question=f"What is {KEY}?")(GIVEN["api_key="](host.url)):
                tally.look(place, name, text)
        with stored_verdicts(host.url, name=KEY) as (_, stored):
            tally.look(hunt.STORED, "planted", stored())
    tally.look(files.PLACE, "planted", "" if files.is_clean(_OF_ANY_KEY) else KEY)
    return tally


def planted_elsewhere() -> Tally:
    """Look at what other processes write, of which one shows a key."""
    tally = Tally()
    with FailingHost().serve() as host:
        tally.look(processes.CRASH, "planted", processes.crash(host, planted=True))
        tally.look(processes.PYTEST, "planted", processes.by_pytest(host, planted=True))
    return tally
