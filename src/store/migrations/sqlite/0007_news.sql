-- What is new since somebody last looked: a position that every writing transaction raises, and for each
-- target the position of what it was last told (commands, new rollouts) and of its last commit.
CREATE TABLE news (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL,
    -- The position of what every target was last told (freezes).
    everyone INTEGER NOT NULL,
    -- Processes that have opened the file: the number of the newest.
    writer   INTEGER NOT NULL
) STRICT;
INSERT INTO news (id, position, everyone, writer) VALUES (1, 0, 0, 0);

ALTER TABLE targets ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE targets ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE targets ADD COLUMN changed_by INTEGER NOT NULL DEFAULT 0;
CREATE INDEX targets_told ON targets (told, name);
CREATE INDEX targets_changed ON targets (changed, changed_by, name);
