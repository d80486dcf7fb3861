-- How far an embedding model agrees with the full one on a sample of this workspace's texts.
-- matches: JSON list of {threshold, matching, pairs, recall}, thresholds of the full model first.
CREATE TABLE model_agreements (
    model VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    threshold DOUBLE NOT NULL,
    units BIGINT NOT NULL,
    texts BIGINT NOT NULL,
    pairs BIGINT NOT NULL,
    spearman DOUBLE,
    matches JSON NOT NULL,
    measured_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (model, field)
);
