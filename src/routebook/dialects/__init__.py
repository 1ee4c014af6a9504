"""Vendor bytes to canonical calls and events, and back. Pure; one file a dialect; dialects never import each other."""
