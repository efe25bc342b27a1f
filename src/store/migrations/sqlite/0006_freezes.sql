-- Times in which targets do not advance.
CREATE TABLE freezes (
    id    TEXT    PRIMARY KEY,
    begun INTEGER NOT NULL,
    ended INTEGER,
    body  ANY     NOT NULL
) STRICT;
