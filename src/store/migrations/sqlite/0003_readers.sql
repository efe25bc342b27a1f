-- What readers ask for: log lines of all rollouts in the order in which they were stored, and rollouts by
-- policy and time.

-- AUTOINCREMENT: a position is never used again, also when the newest line was removed by retention.
CREATE TABLE events_in_order (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout  TEXT    NOT NULL REFERENCES rollouts (id),
    seq      INTEGER NOT NULL,
    body     ANY     NOT NULL,
    UNIQUE (rollout, seq)
) STRICT;
INSERT INTO events_in_order (rollout, seq, body) SELECT rollout, seq, body FROM events ORDER BY rowid;
DROP TABLE events;
ALTER TABLE events_in_order RENAME TO events;
-- A log that can be changed is no record.
CREATE TRIGGER events_are_append_only BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- NULL where the body is CBOR, until it is written again: the reader looks into the body then.
ALTER TABLE rollouts ADD COLUMN policy TEXT;
UPDATE rollouts SET policy = json_extract(body, '$.policy.name') WHERE typeof(body) = 'text';
CREATE INDEX rollouts_of_policy ON rollouts (policy, id);
