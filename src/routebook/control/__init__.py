"""The management API: generations, keys, catalogue, account, health."""
