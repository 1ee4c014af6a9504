"""The hot path: one request from arrival to receipt. Read `exchange.py` first."""
