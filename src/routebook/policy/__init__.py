"""Decisions that return values: admission, routing, retry. Pure."""
