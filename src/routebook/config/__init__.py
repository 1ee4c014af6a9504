"""Typed settings and catalogue, built from parsed tables. Pure: reading files and environment is the room `load`."""
