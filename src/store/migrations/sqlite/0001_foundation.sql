-- Bodies are the whole value: JSON as TEXT, or CBOR as BLOB where JSON cannot hold it (numbers that are
-- not finite). The columns beside a body serve conditions, order and filters, and agree with it.

CREATE TABLE targets (
    name     TEXT    NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    active   TEXT,
    body     ANY     NOT NULL
) STRICT;

CREATE TABLE rollouts (
    id              TEXT    NOT NULL PRIMARY KEY,
    target          TEXT    NOT NULL REFERENCES targets (name),
    revision        INTEGER NOT NULL,
    phase           TEXT    NOT NULL,
    ended           INTEGER NOT NULL CHECK (ended IN (0, 1)),
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    -- 1: its observations, evidence and cursors were removed by retention.
    slim            INTEGER NOT NULL DEFAULT 0 CHECK (slim IN (0, 1)),
    idempotency_key TEXT UNIQUE,
    body            ANY     NOT NULL
) STRICT;

CREATE INDEX rollouts_of_target ON rollouts (target, id);
CREATE INDEX rollouts_open ON rollouts (id) WHERE ended = 0;
CREATE INDEX rollouts_ended ON rollouts (ended_at) WHERE ended = 1;
-- At most one rollout occupies a target, whatever a caller believes.
CREATE UNIQUE INDEX rollouts_occupying ON rollouts (target) WHERE ended = 0 AND phase <> 'scheduled';

CREATE TABLE inbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    key     TEXT    NOT NULL UNIQUE,
    rollout TEXT    NOT NULL REFERENCES rollouts (id),
    at      INTEGER NOT NULL,
    body    ANY     NOT NULL,
    -- 1: carried out, or refused if there is a refusal.
    taken   INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),
    refusal TEXT
) STRICT;

CREATE INDEX inbox_of_rollout ON inbox (rollout);
CREATE INDEX inbox_pending ON inbox (rollout, number) WHERE taken = 0;

CREATE TABLE events (
    rollout TEXT    NOT NULL REFERENCES rollouts (id),
    seq     INTEGER NOT NULL,
    body    ANY     NOT NULL,
    PRIMARY KEY (rollout, seq)
) STRICT;

CREATE TABLE cursors (
    rollout TEXT NOT NULL REFERENCES rollouts (id),
    metric  TEXT NOT NULL,
    body    ANY  NOT NULL,
    PRIMARY KEY (rollout, metric)
) STRICT;

CREATE TABLE observations (
    rollout    TEXT    NOT NULL REFERENCES rollouts (id),
    seq        INTEGER NOT NULL,
    body       ANY     NOT NULL,
    assessment ANY     NOT NULL,
    PRIMARY KEY (rollout, seq)
) STRICT;

-- A log that can be changed is no record.
CREATE TRIGGER events_are_append_only BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER observations_are_append_only BEFORE UPDATE ON observations
BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;

-- Snapshots of the evidence in CBOR. They spare judging every observation again after a start; the
-- observations are the record.
CREATE TABLE evidence (
    rollout TEXT    NOT NULL REFERENCES rollouts (id),
    seq     INTEGER NOT NULL,
    body    BLOB    NOT NULL,
    PRIMARY KEY (rollout, seq)
) STRICT;

CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    channel  TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    rollout  TEXT    NOT NULL,
    state    TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due      INTEGER NOT NULL,
    detail   TEXT,
    body     ANY     NOT NULL,
    UNIQUE (channel, key)
) STRICT;

CREATE INDEX outbox_of_rollout ON outbox (rollout);
CREATE INDEX outbox_pending ON outbox (channel, id) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 'dead';

-- Written by the readiness check.
CREATE TABLE heartbeat (
    id     INTEGER PRIMARY KEY,
    beats  INTEGER NOT NULL,
    filler BLOB
) STRICT;
INSERT INTO heartbeat (id, beats) VALUES (1, 0);
