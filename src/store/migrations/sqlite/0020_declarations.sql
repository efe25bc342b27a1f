-- Targets and policies that were declared through the API.
CREATE TABLE declarations (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body ANY  NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
