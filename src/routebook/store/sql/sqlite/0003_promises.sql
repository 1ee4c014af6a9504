-- What was promised to requests with an Idempotency-Key: one call, and its answer again (store/promises.py).
-- `digest` is of the idempotency key, `request` of what was asked with it, `answer` is sealed; `size`: bytes it counts as.

CREATE TABLE promises (
    key_hash   TEXT NOT NULL,
    digest     BLOB NOT NULL,
    request    BLOB NOT NULL,
    generation TEXT NOT NULL,
    owner      TEXT NOT NULL,
    state      INTEGER NOT NULL,
    made_ns    INTEGER NOT NULL,
    ends_ns    INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    answer     BLOB,
    PRIMARY KEY (key_hash, digest)
) STRICT;

CREATE INDEX promises_by_end ON promises (ends_ns);
CREATE INDEX promises_open ON promises (owner) WHERE state = 0;
CREATE INDEX promises_kept ON promises (made_ns) WHERE state = 1;

-- The bytes of all promises, so that nobody has to add them up.
INSERT INTO counters VALUES ('promised_bytes', 0);

CREATE TRIGGER promises_in AFTER INSERT ON promises BEGIN
    UPDATE counters SET value = value + new.size WHERE name = 'promised_bytes';
END;

CREATE TRIGGER promises_up AFTER UPDATE OF size ON promises BEGIN
    UPDATE counters SET value = value + new.size - old.size WHERE name = 'promised_bytes';
END;

CREATE TRIGGER promises_out AFTER DELETE ON promises BEGIN
    UPDATE counters SET value = value - old.size WHERE name = 'promised_bytes';
END;
