"""Looks for a key everywhere it could turn up: `python -m key_hunt` prints what was looked at and what was found.

Where a key cannot be kept from, it does not look: a debugger, a tracing function or a core dump, which see functions
while they run; an application's own variables; what an HTTP client of the application's logs; a response's header in
which a host repeats the key, which the HTTP library logs at DEBUG.

It is about keys. Text that is judged stands in the locals of frames, as it must while it is judged; whoever has them
written out on a failure (`--showlocals`, rich, an error tracker) gets that text, and no key.
"""
