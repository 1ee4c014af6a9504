-- The first schema. Money is decimal text and is added in Python: SQL numbers would lose digits.

CREATE TABLE keys (
    hash                  TEXT PRIMARY KEY,
    name                  TEXT NOT NULL,
    label                 TEXT NOT NULL,
    account               TEXT NOT NULL,
    disabled              INTEGER NOT NULL,
    management            INTEGER NOT NULL,
    limit_usd             TEXT,
    limit_reset           TEXT,
    include_byok_in_limit INTEGER NOT NULL,
    created_at            TEXT NOT NULL,
    updated_at            TEXT,
    expires_at            TEXT,
    creator_user_id       TEXT,
    workspace_id          TEXT
) STRICT;

CREATE TABLE apps (
    id    INTEGER PRIMARY KEY,
    url   TEXT NOT NULL UNIQUE,
    title TEXT
) STRICT;

CREATE TABLE cursors (
    daybook TEXT PRIMARY KEY,
    seq     INTEGER NOT NULL
) STRICT;

CREATE TABLE generations (
    daybook     TEXT NOT NULL,
    n           INTEGER NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    accepted_ns INTEGER NOT NULL,
    account     TEXT NOT NULL,
    key_hash    TEXT NOT NULL,
    model       TEXT,
    provider    TEXT,
    state       INTEGER NOT NULL,
    total       TEXT NOT NULL,
    folded      BLOB NOT NULL,
    UNIQUE (daybook, n)
) STRICT;

CREATE INDEX generations_by_time ON generations (accepted_ns);

CREATE TABLE spend (
    key_hash TEXT NOT NULL,
    account  TEXT NOT NULL,
    day      TEXT NOT NULL,
    usage    TEXT NOT NULL,
    byok     TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (key_hash, day, account)
) STRICT;

-- Counts changes of what processes keep snapshots of. Triggers, so that a change by hand is noticed as well.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO counters VALUES ('version', 1);

CREATE TRIGGER keys_in AFTER INSERT ON keys BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;

CREATE TRIGGER keys_up AFTER UPDATE ON keys BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;

CREATE TRIGGER keys_out AFTER DELETE ON keys BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;

CREATE TRIGGER apps_in AFTER INSERT ON apps BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;

CREATE TRIGGER apps_up AFTER UPDATE ON apps BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;

CREATE TRIGGER apps_out AFTER DELETE ON apps BEGIN
    UPDATE counters SET value = value + 1 WHERE name = 'version';
END;
