-- What channels keep over restarts: the thread of a rollout, the labels that an alert was opened with.
CREATE TABLE channel_memory (
    channel TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, key)
) STRICT;

CREATE INDEX channel_memory_at ON channel_memory (at);
