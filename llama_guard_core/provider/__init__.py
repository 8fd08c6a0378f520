"""Talks to whoever hosts the models, and decides nothing about safety."""
