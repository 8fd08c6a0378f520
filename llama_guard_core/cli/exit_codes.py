"""What the commands exit with."""

OK = 0
SOMETHING_IS_WRONG = 1
"""It was done, and something is to be looked at: a probe failed, or rows are without a verdict."""
CANNOT_BE_RUN = 2
"""A setting or a file is wrong; nothing was asked."""
STOPPED = 3
"""It stopped before the end, at the limit of cost or because the host failed; started again it goes on."""
INTERRUPTED = 130
"""It was interrupted by Ctrl-C or a signal to end, after what was under way had been written down."""
