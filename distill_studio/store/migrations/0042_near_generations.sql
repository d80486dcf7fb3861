-- A search from a lower floor has a generation of its own, so that what the one before found counts
-- until the new one has come to its end. `asked_floor` is what was asked for; `floor` may have been
-- raised since, where there were too many pairs.

CREATE TABLE near_searches_by_generation (
    model VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    generation INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    asked_floor DOUBLE NOT NULL,
    floor DOUBLE NOT NULL,
    searched_to BIGINT NOT NULL,
    recall DOUBLE,
    recall_low DOUBLE,
    recall_high DOUBLE,
    recall_pairs BIGINT,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (model, field, generation)
);
INSERT INTO near_searches_by_generation
SELECT model, field, 0, dim, floor, floor, searched_to, recall, recall_low, recall_high,
    recall_pairs, updated_at
FROM near_searches;
DROP TABLE near_searches;
ALTER TABLE near_searches_by_generation RENAME TO near_searches;

ALTER TABLE near_pairs ADD COLUMN generation INTEGER DEFAULT 0;

-- What counts: the oldest generation, for a newer one is under way, and its pairs up to its mark.
CREATE VIEW near_searches_in_force AS
SELECT * FROM near_searches
QUALIFY row_number() OVER (PARTITION BY model, field ORDER BY generation) = 1;

CREATE VIEW near_pairs_in_force AS
SELECT n.model, n.field, n.a, n.b, n.similarity
FROM near_pairs n JOIN near_searches_in_force s
    ON s.model = n.model AND s.field = n.field AND s.generation = n.generation
WHERE n.b < s.searched_to;
