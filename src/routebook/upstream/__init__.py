"""Sockets to providers: transport, pool, credentials, the guarded fetch. Knows no vendor."""
