-- How likely a language model finds answers: mean loss per answer token, after the question and
-- without it. No key, as in filter_scores: the writer deletes a row's entry before a new one.
CREATE TABLE answer_likelihoods (
    pair_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    content_key VARCHAR NOT NULL,
    tokens INTEGER NOT NULL,
    loss_given DOUBLE NOT NULL,
    loss_alone DOUBLE NOT NULL,
    is_cut BOOLEAN NOT NULL
);

-- Models that scored; the one used last is what a filter without a model's name means.
CREATE TABLE likelihood_models (
    model VARCHAR PRIMARY KEY,
    number_format VARCHAR NOT NULL,
    used_at TIMESTAMPTZ NOT NULL
);
