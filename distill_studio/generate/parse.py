"""A teacher's reply to a pair, or to a failure that says why it is none."""

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Failure, Pair
from distill_studio.generate.recipes.base import Ask, Prompts
from distill_studio.verify import Verdict

EMPTY_ANSWER = "empty_answer"
NOT_VERIFIED = "not_verified"
_TEXT_KEPT = 20_000  # characters of a reply that is not kept; enough to see why


def parse(
    ask: Ask,
    reply: ChatReply,
    *,
    job_id: str,
    teacher: str,
    recipe: Prompts,
    verdict: Verdict | None = None,
) -> Pair | Failure:
    """The pair to store, with its provenance, or the failure."""
    if not reply.is_ok:
        return _failure(ask, job_id, teacher, reply.error_code, reply.error)
    if not reply.text.strip():
        return _failure(ask, job_id, teacher, EMPTY_ANSWER, _why_empty(teacher, reply))
    params = ask.request.sampling.model_dump(mode="json") | reply.extra
    if verdict is not None:
        if not verdict.ok:
            written = f"{reply.reasoning}\n\n{reply.text}".strip()
            return _failure(ask, job_id, teacher, NOT_VERIFIED, verdict.reason, written)
        params |= {"verified": {"reason": verdict.reason, "answer": verdict.extracted}}
    return Pair(
        seed_id=ask.seed.id,
        messages=ask.request.messages,
        answer=reply.text,
        reasoning=reply.reasoning,
        topic=ask.seed.topic,
        source=recipe.name,
        teacher=teacher,
        model=reply.model,
        recipe=recipe.name,
        recipe_version=recipe.version,
        params=params,
        job_id=job_id,
        step=ask.step,
        sample=ask.sample,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        latency_ms=reply.latency_ms,
    )


def _failure(
    ask: Ask, job_id: str, teacher: str, code: str, reason: str, text: str = ""
) -> Failure:
    return Failure(
        job_id=job_id,
        seed_id=ask.seed.id,
        step=ask.step,
        sample=ask.sample,
        teacher=teacher,
        code=code,
        reason=reason,
        text=text[:_TEXT_KEPT],
    )


def _why_empty(teacher: str, reply: ChatReply) -> str:
    if reply.finish_reason == "length":
        return (
            f"{teacher} used all its tokens before it wrote an answer. Allow longer answers and"
            " retry."
        )
    if reply.finish_reason == "content_filter":
        return f"{teacher}'s content filter held the answer back."
    return f"{teacher} wrote an empty answer."
