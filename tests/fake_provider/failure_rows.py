"""Every way a host may fail that a caller has to survive, as the rows of a table."""

from __future__ import annotations

from .faults import Fault

FAILURES: tuple[Fault, ...] = (
    *(Fault.status(status) for status in (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)),
    *(Fault.status(429, retry_after=0.01, form=form) for form in ("seconds", "date", "milliseconds")),
    Fault.daily_limit(),
    Fault.html(502),
    Fault.html(200),
    Fault.error_with_200(),
    Fault.choice_error(),
    Fault.stream_error(1),
    Fault.stream_error(2),
    Fault.stream_error(3),
    Fault.stream_error(4),
    Fault.all_null(),
    Fault.empty(),
    Fault.whitespace(),
    Fault.blank_body(),
    Fault.truncated_json(),
    Fault.cut("before_headers"),
    Fault.cut("in_headers"),
    Fault.cut("in_body"),
    Fault.stall("before_headers"),
    Fault.stall("in_headers"),
    Fault.stall("in_body"),
    Fault.endless(),
)
"""None of them leaves a whole answer behind. `Fault.prose` is missing: from a chat model it is an answer."""
