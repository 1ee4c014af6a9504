"""The front door: which paths exist, and how bytes come in and go out."""
