-- The outbox knows commands that were begun, and since when it has tried.

CREATE TABLE outbox_since (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    channel  TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    rollout  TEXT    NOT NULL,
    -- running: a command that must not be begun twice.
    state    TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due      INTEGER NOT NULL,
    -- When it could first be delivered: its deadline counts from here.
    since    INTEGER NOT NULL,
    detail   TEXT,
    body     ANY     NOT NULL,
    UNIQUE (channel, key)
) STRICT;
INSERT INTO outbox_since (id, channel, key, rollout, state, attempts, due, since, detail, body)
    SELECT id, channel, key, rollout, state, attempts, due,
           CASE typeof(body) WHEN 'text' THEN coalesce(json_extract(body, '$.at'), due) ELSE due END,
           detail, body
    FROM outbox ORDER BY id;
-- AUTOINCREMENT: a number is never used again, also when the newest entry was removed by retention.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'outbox')
    WHERE name = 'outbox_since' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox');
DROP TABLE outbox;
ALTER TABLE outbox_since RENAME TO outbox;

CREATE INDEX outbox_of_rollout ON outbox (rollout);
CREATE INDEX outbox_pending ON outbox (channel, id) WHERE state = 'pending';
CREATE INDEX outbox_digest ON outbox (channel, due, id) WHERE state = 'pending';
CREATE INDEX outbox_times ON outbox (due, attempts, since) WHERE state = 'pending';
CREATE INDEX outbox_waiting ON outbox (id) WHERE state = 'pending';
CREATE INDEX outbox_running ON outbox (id) WHERE state = 'running';
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 'dead';
