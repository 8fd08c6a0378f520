"""Runs over a file that are killed at any moment and started again: nothing lost, nothing twice, the same output."""
