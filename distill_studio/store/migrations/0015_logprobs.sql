-- What the teacher thought likely at each token of an answer: soft targets for logit distillation.
CREATE TABLE pair_logprobs (
    pair_id VARCHAR PRIMARY KEY,
    tokens STRUCT(
        token VARCHAR,
        token_id INTEGER,
        logprob FLOAT,
        top STRUCT(token VARCHAR, token_id INTEGER, logprob FLOAT)[]
    )[] NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
