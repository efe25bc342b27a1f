-- What is remembered of alerts that have come in, by target.
CREATE TABLE alerts (
    target  TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    last_at INTEGER NOT NULL,
    body    ANY     NOT NULL,
    PRIMARY KEY (target, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_by_time ON alerts (last_at);
