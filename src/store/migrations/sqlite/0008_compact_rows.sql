-- A look costs few bytes: what is fixed of a rollout is stored once, what moves in a row of some 30 bytes, the
-- observation in a binary form without its assessment, which can be judged again.
--
-- Rollouts of the older form (the whole value in `rollouts.body`, no row in `plans`) stay readable and are
-- converted by their next commit; their observations stay where they are.

CREATE TABLE plans (
    -- Stands for the rollout in the rows of its looks. AUTOINCREMENT: never used again.
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout TEXT NOT NULL UNIQUE REFERENCES rollouts (id),
    body    ANY  NOT NULL,
    -- What the metrics' pasts told: the one part that comes later, once.
    history ANY
) STRICT;

-- What changes with every look. The revision is here and no longer in `rollouts`.
CREATE TABLE progress (
    number   INTEGER PRIMARY KEY REFERENCES plans (number),
    revision INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT;

-- With a row in `plans`, a body is what changes seldom. What the last look was judged as stands here once the
-- rollout has ended, and what the step that was left was judged as.
ALTER TABLE rollouts ADD COLUMN last ANY;
ALTER TABLE rollouts ADD COLUMN compared ANY;

CREATE TABLE looks (
    number INTEGER NOT NULL REFERENCES plans (number),
    seq    INTEGER NOT NULL,
    body   BLOB    NOT NULL,
    PRIMARY KEY (number, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER looks_are_append_only BEFORE UPDATE ON looks
BEGIN SELECT RAISE(ABORT, 'looks are append-only'); END;

-- Cursors: the names of series and instances, which hardly change, apart from their numbers.
CREATE TABLE cursor_names (
    number INTEGER NOT NULL REFERENCES plans (number),
    metric TEXT    NOT NULL,
    body   BLOB    NOT NULL,
    PRIMARY KEY (number, metric)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor_numbers (
    number INTEGER NOT NULL REFERENCES plans (number),
    metric TEXT    NOT NULL,
    body   BLOB    NOT NULL,
    PRIMARY KEY (number, metric)
) STRICT, WITHOUT ROWID;

-- What the look of a snapshot was judged as; NULL in snapshots of the older form.
ALTER TABLE evidence ADD COLUMN assessment ANY;
