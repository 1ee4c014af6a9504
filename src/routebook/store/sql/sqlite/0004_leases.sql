-- What daybooks may still post to budgets (store/lending.py). Money is decimal text, as everywhere.

CREATE TABLE leases (
    daybook TEXT NOT NULL,
    budget  TEXT NOT NULL,
    first   TEXT NOT NULL,
    last    TEXT NOT NULL,
    byok    INTEGER NOT NULL,
    amount  TEXT NOT NULL,
    PRIMARY KEY (budget, first, last, byok, daybook)
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_by_daybook ON leases (daybook);
