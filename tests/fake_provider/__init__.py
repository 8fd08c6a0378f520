"""A fake host of chat models and guards: strict, scripted, and true to the wire.

It stands on the documented facts of the real API and on nothing of the code under test, so that the two
cannot share a mistake.
"""

from .answers import Answer
from .brain import MARKERS, SMALL_TALK
from .error_bodies import ACCOUNT_ID
from .failure_rows import FAILURES
from .faults import Fault
from .provider import BASE_URL, FakeProvider
from .received import GuardQuestion, Received
from .replies import Reply, ToolCall, Usage

__all__ = [
    "ACCOUNT_ID",
    "BASE_URL",
    "FAILURES",
    "MARKERS",
    "SMALL_TALK",
    "Answer",
    "FakeProvider",
    "Fault",
    "GuardQuestion",
    "Received",
    "Reply",
    "ToolCall",
    "Usage",
]
