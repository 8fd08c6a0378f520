"""Text that was made to do harm, in the thousands: `PYTHONPATH=tests:. python -m hostile_text` prints what came of it.

`HOSTILE_CASES` says how many answers of the guard are tried (the other rows follow it), `HOSTILE_SEED` which ones: the
same two numbers are the same cases.
"""
