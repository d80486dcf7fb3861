"""What teachers cost, as people see it. Start at `priced` and `estimated`."""

from pydantic import Field

from distill_studio.core.records import Record, TeacherConfig
from distill_studio.teachers.prices import estimate_usd, price_of, tokens_in


class TeacherPrice(Record):
    """What a teacher's tokens cost, as far as known."""

    teacher: str = Field(description="Name.")
    is_known: bool = Field(description="False: give the teacher prices to see costs.")
    usd_in: float | None = Field(default=None, description="Per million tokens read.")
    usd_out: float | None = Field(default=None, description="Per million tokens written.")
    source: str = Field(default="", description="Where the figures come from.")
    as_of: str = Field(default="", description="When they stood there (ISO date).")
    spend_limit_usd: float = Field(default=0.0, description="Per generation; 0 = none.")


class Estimate(Record):
    """About what a generation will take of one teacher."""

    teacher: str = Field(description="Name.")
    prompt_tokens: int = Field(description="Read, from the prompts' lengths.")
    completion_tokens: int = Field(description="Written.")
    usd: float | None = Field(description="None where the price is unknown.")
    basis: str = Field(description="Where the length of an answer comes from, in words.")
    is_over_limit: bool = Field(default=False, description="More than the spend limit.")


def priced(teacher: TeacherConfig) -> TeacherPrice:
    """What the teacher's tokens cost."""
    price = price_of(teacher)
    if price is None:
        return TeacherPrice(
            teacher=teacher.name, is_known=False, spend_limit_usd=teacher.spend_limit_usd
        )
    return TeacherPrice(
        teacher=teacher.name,
        is_known=True,
        usd_in=price.usd_in,
        usd_out=price.usd_out,
        source=price.source,
        as_of=price.as_of.isoformat() if price.as_of else "",
        spend_limit_usd=teacher.spend_limit_usd,
    )


def estimated(
    teacher: TeacherConfig,
    requests: int,
    prompt_characters: int,
    max_tokens: int,
    mean_tokens: float | None,
) -> Estimate:
    """About what a generation will take.

    Args:
        teacher: Who is asked.
        requests: How often.
        prompt_characters: Of all prompts together.
        max_tokens: Of one answer.
        mean_tokens: Of its answers so far; None before the first.
    """
    each = max_tokens / 2 if mean_tokens is None else min(mean_tokens, max_tokens)
    usd = estimate_usd(
        price_of(teacher),
        requests=requests,
        prompt_characters=prompt_characters,
        completion_tokens=each,
    )
    limit = teacher.spend_limit_usd
    return Estimate(
        teacher=teacher.name,
        prompt_tokens=tokens_in(prompt_characters),
        completion_tokens=round(requests * each),
        usd=usd,
        basis="half of the longest answer" if mean_tokens is None else "its answers so far",
        is_over_limit=bool(limit and usd is not None and usd > limit),
    )
