"""What of a streamed reply comes out where, before a verdict covers it: `make leaks` prints it as a table."""
