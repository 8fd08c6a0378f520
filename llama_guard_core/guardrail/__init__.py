"""The part that decides. Nothing in this folder does I/O or knows of a framework."""
