-- Ended calls in sheets of up to 64 (store/sheets.py); a generation keeps what queries ask for and where its blobs are.
-- The functions intents_of, outcomes_of, progress_of, seq_of, byok_of, amendment_of, names are store/migrate.py's.

CREATE TABLE books (
    id      INTEGER PRIMARY KEY,
    daybook TEXT NOT NULL UNIQUE,
    seq     INTEGER NOT NULL
) STRICT;

INSERT INTO books (daybook, seq) SELECT daybook, seq FROM cursors ORDER BY daybook;
INSERT OR IGNORE INTO books (daybook, seq) SELECT DISTINCT daybook, 0 FROM generations;

-- Who called what, and who served it. `newest_ns`: no call of the kind was accepted at or after it.
CREATE TABLE kinds (
    id        INTEGER PRIMARY KEY,
    account   TEXT NOT NULL,
    key_hash  TEXT NOT NULL,
    model     TEXT,
    provider  TEXT,
    newest_ns INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX kinds_once ON kinds (key_hash, account, ifnull(model, ''), ifnull(provider, ''));

INSERT INTO kinds (account, key_hash, model, provider, newest_ns)
SELECT account, key_hash, nullif(model, ''), nullif(provider, ''), max(accepted_ns) + 1
FROM generations GROUP BY account, key_hash, ifnull(model, ''), ifnull(provider, '');

-- `newest_ns`: when the newest of its calls was accepted.
CREATE TABLE sheets (
    id        INTEGER PRIMARY KEY,
    newest_ns INTEGER NOT NULL,
    intents   BLOB NOT NULL,
    outcomes  BLOB NOT NULL,
    progress  BLOB
) STRICT;

INSERT INTO sheets
SELECT rowid, accepted_ns, intents_of(folded), outcomes_of(folded), progress_of(folded) FROM generations;

-- place = the book's id << 36 | n; kept = the sheet's id << 6 | slot.
CREATE TABLE calls (
    place       INTEGER PRIMARY KEY,
    accepted_ns INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    total       TEXT NOT NULL,
    byok        TEXT,
    kept        INTEGER NOT NULL
) STRICT;

INSERT INTO calls
SELECT b.id << 36 | g.n, g.accepted_ns, k.id, seq_of(g.folded), g.state, g.total, byok_of(g.folded), g.rowid << 6
FROM generations g
JOIN books b USING (daybook)
JOIN kinds k ON k.key_hash = g.key_hash AND k.account = g.account
    AND ifnull(k.model, '') = ifnull(g.model, '') AND ifnull(k.provider, '') = ifnull(g.provider, '');

-- What was learnt after the end; `source` is the daybook it was written in, `seq` its row there.
CREATE TABLE amendments (
    place  INTEGER NOT NULL,
    source INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    blob   BLOB NOT NULL,
    PRIMARY KEY (place, source, seq)
) STRICT, WITHOUT ROWID;

WITH RECURSIVE each (place, source, folded, seq, turn) AS (
    SELECT b.id << 36 | g.n, b.id, g.folded, seq_of(g.folded), 0
    FROM generations g JOIN books b USING (daybook) WHERE amendment_of(g.folded, 0) IS NOT NULL
    UNION ALL
    SELECT place, source, folded, seq, turn + 1 FROM each WHERE amendment_of(folded, turn + 1) IS NOT NULL
)
INSERT INTO amendments SELECT place, source, seq + 1 + turn, amendment_of(folded, turn) FROM each;

-- Ids that do not name their daybook and number; all others are found by what they say.
CREATE TABLE odd_ids (
    id    TEXT PRIMARY KEY,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX odd_ids_by_place ON odd_ids (place);

INSERT INTO odd_ids
SELECT g.id, b.id << 36 | g.n FROM generations g JOIN books b USING (daybook) WHERE NOT names(g.id, g.daybook, g.n);

DROP TABLE generations;
DROP TABLE cursors;

CREATE INDEX calls_by_time ON calls (accepted_ns, kind);
CREATE INDEX sheets_by_time ON sheets (newest_ns);

-- What retention deleted, so that spend is still explained.
CREATE TABLE retired (
    key_hash TEXT NOT NULL,
    account  TEXT NOT NULL,
    day      TEXT NOT NULL,
    usage    TEXT NOT NULL,
    byok     TEXT NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (key_hash, day, account)
) STRICT;

INSERT INTO counters VALUES ('kept_since_ns', 0), ('kinds_deleted', 0);
