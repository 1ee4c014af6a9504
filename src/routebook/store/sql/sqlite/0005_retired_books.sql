-- How many calls of each daybook retention deleted, and up to which of its rows: what is missing there is no gap.

CREATE TABLE retired_books (
    book  INTEGER PRIMARY KEY,
    calls INTEGER NOT NULL,
    seq   INTEGER NOT NULL
) STRICT;
