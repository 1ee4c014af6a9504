-- What was spent on each model on each UTC day, by callers who named it. It begins with the upgrade: older calls do not
-- say apart from their blobs whether a router chose their model.

CREATE TABLE model_spend (
    day   TEXT NOT NULL,
    model TEXT NOT NULL,
    usd   TEXT NOT NULL,
    PRIMARY KEY (day, model)
) STRICT, WITHOUT ROWID;
