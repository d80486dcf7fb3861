"""SFT: the cross-entropy of answers, on rows whose tokens and labels are made by `data.py`."""

import functools

from distill_studio.distill.config import SftRun
from distill_studio.distill.trainers.answers import AnswerTrainer, trainer_fields
from distill_studio.distill.trainers.packed import packed_collator
from distill_studio.distill.trainers.setup import Setup, answer_tokens, encode_splits


def build(setup: Setup) -> AnswerTrainer:
    """The trainer, its rows encoded."""
    config = setup.config
    assert isinstance(config, SftRun)

    encode = functools.partial(answer_tokens, setup, config)
    train, validation = encode_splits(setup, encode, may_map=True)
    return AnswerTrainer(
        **trainer_fields(setup),
        data_collator=packed_collator(setup, train) if config.packing else None,
        train_dataset=train,
        eval_dataset=validation,
    )
