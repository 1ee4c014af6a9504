"""Money in motion: holds, postings, balances, shipping the daybook to the store, verifying the book."""
