"""Rate limits, prices and the spend limit of a teacher."""

import asyncio
import time
from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.errors import Cancelled, TeacherSpendLimit
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, TeacherConfig, TeacherKind
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.prices import (
    Price,
    PriceRow,
    estimate_usd,
    is_own_network,
    price_of,
    price_table,
)
from distill_studio.teachers.rate_limit import RateLimit
from distill_studio.teachers.spending import SpendMeter
from tests.stub_openai import Answer, StubServer, completion

DEAR = Price(usd_in=10.0, usd_out=100.0, source="test")


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def teacher(url: str = "http://127.0.0.1:1/v1", model: str = "stub-1", **fields) -> TeacherConfig:
    defaults = {"timeout_s": 60.0, "max_retries": 0, "concurrency": 16}
    return TeacherConfig(
        name="Stub", kind=TeacherKind.OPENAI, model=model, base_url=url, **defaults | fields
    )


def ask(model: OpenAIChatModel, count: int, max_tokens: int = 100) -> list[ChatReply]:
    requests = [
        ChatRequest(
            key=str(n),
            messages=(Message(role="user", content="x" * 40),),
            sampling=SamplingParams(max_tokens=max_tokens),
        )
        for n in range(count)
    ]

    async def collect() -> list[ChatReply]:
        try:
            return [reply async for reply in model.generate(requests)]
        finally:
            await model.aclose()

    return asyncio.run(collect())


# -- rate ---------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(per_min=st.integers(1, 50), gaps=st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_no_minute_sees_more_requests_than_allowed(per_min: int, gaps: list[int]) -> None:
    clock = Clock()
    limit = RateLimit(per_min, 0, clock)
    starts = []
    for gap in gaps:
        clock.now += gap
        starts.append(clock.now + limit.reserve(1000))
    for start in starts:
        assert sum(start <= other < start + 60 - 1e-6 for other in starts) <= per_min


def test_tokens_are_paced_and_corrected() -> None:
    clock = Clock()
    limit = RateLimit(0, 600, clock)  # ten tokens a second
    assert limit.reserve(100) == 0
    assert limit.reserve(100) == pytest.approx(10)
    limit.settle(100, 20)  # the first took only 20
    assert limit.reserve(100) == pytest.approx(12)
    limit.settle(100, 200)
    assert limit.reserve(1) == pytest.approx(32)
    clock.now += 1000
    assert limit.reserve(1) == 0, "what was not used is not saved up"
    assert limit.reserve(1) == pytest.approx(0.1)


def test_without_limits_nobody_waits() -> None:
    limit = RateLimit(0, 0, Clock())
    assert not limit.is_limited
    assert [limit.reserve(1e9) for _ in range(5)] == [0.0] * 5


def test_a_teacher_is_asked_no_faster_than_its_limit(stub: StubServer) -> None:
    times: list[float] = []

    def behave(body: dict) -> Answer:
        times.append(time.monotonic())
        return Answer(completion("ok"))

    stub.behave = behave
    began = time.monotonic()
    replies = ask(OpenAIChatModel(teacher(stub.url, requests_per_min=600)), 8)
    assert all(reply.is_ok for reply in replies)
    assert max(times) - began >= 0.69, "eight starts, a tenth of a second apart"


def test_a_cancel_gives_its_turns_back(stub: StubServer) -> None:
    limit = RateLimit(60, 0)
    model = OpenAIChatModel(teacher(stub.url, requests_per_min=60), limit=limit)
    cancel = CancelToken()

    async def begin() -> None:
        requests = (
            ChatRequest(key=str(n), messages=(Message(role="user", content="x"),))
            for n in range(100)
        )
        try:
            async for _ in model.generate(requests, cancel):
                cancel.cancel()
        finally:
            await model.aclose()

    with pytest.raises(Cancelled):
        asyncio.run(begin())
    assert limit.reserve(0) < 3, "sixteen waited, a second each"


def test_two_jobs_share_one_limit(stub: StubServer) -> None:
    config = teacher(stub.url, requests_per_min=600)
    shared = RateLimit(config.requests_per_min, 0)
    began = time.monotonic()
    for _ in range(2):
        ask(OpenAIChatModel(config, limit=shared), 4)
    assert time.monotonic() - began >= 0.65


# -- prices -------------------------------------------------------------------------------

ROWS = [
    PriceRow(
        provider="P", host="api.p.example", model=pattern, usd_in=usd, usd_out=2 * usd,
        source="https://p.example/prices", as_of=date(2026, 1, 1),
    )
    for pattern, usd in (("big-mini*", 1.0), ("big*", 5.0))
]  # fmt: skip


def test_the_first_row_that_fits_counts() -> None:
    at = "https://api.p.example/v1"
    mini, big = price_of(teacher(at, "Big-Mini-2"), ROWS), price_of(teacher(at, "big"), ROWS)
    assert mini is not None
    assert big is not None
    assert (mini.usd_in, big.usd_in, big.as_of) == (1.0, 5.0, date(2026, 1, 1))
    assert price_of(teacher(at, "other"), ROWS) is None
    assert price_of(teacher("https://elsewhere.example/v1", "big"), ROWS) is None


def test_own_prices_and_own_machines_go_before_the_table() -> None:
    own = price_of(teacher("https://api.p.example/v1", "big", price_in=0.5, price_out=0.0), ROWS)
    assert own is not None
    assert (own.usd_in, own.usd_out) == (0.5, 0.0)
    here = price_of(teacher("http://192.168.1.7:8000/v1"), ROWS)
    assert here is not None
    assert here.cost(1e9, 1e9) == 0
    mixed = teacher("http://127.0.0.1:1/v1", "big", base_urls=("https://api.p.example/v1",))
    dearest = price_of(mixed, ROWS)
    assert dearest is not None
    assert dearest.usd_in == 5.0
    unknown = teacher("http://127.0.0.1:1/v1", base_urls=("https://elsewhere.example/v1",))
    assert price_of(unknown, ROWS) is None


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("localhost", True), ("127.0.0.1", True), ("::1", True), ("10.0.0.8", True),
        ("gpu-box", True), ("gpu.local", True), ("api.openai.com", False), ("8.8.8.8", False),
        ("", False),
    ],
)  # fmt: skip
def test_own_network(host: str, is_own: bool) -> None:
    assert is_own_network(host) is is_own


def test_estimates() -> None:
    assert estimate_usd(None, requests=1, prompt_characters=4, completion_tokens=1) is None
    got = estimate_usd(DEAR, requests=1000, prompt_characters=400_000, completion_tokens=200)
    assert got == pytest.approx((100_000 * 10 + 200_000 * 100) / 1e6)


def test_the_table_is_well_formed() -> None:
    rows = price_table()
    assert rows
    for n, row in enumerate(rows):
        assert row.source.startswith("https://")
        assert 0 < row.usd_in <= row.usd_out * 2
        assert row.as_of >= date(2025, 1, 1)
        earlier = [r for r in rows[:n] if r.host == row.host]
        found = price_of(teacher(f"https://{row.host}/v1", row.model.rstrip("*")), rows)
        assert found is not None
        assert found.usd_in == row.usd_in, f"{row.model} is hidden by one of {earlier}"


# -- spending -----------------------------------------------------------------------------


def words(count: int) -> Answer:
    """5 tokens read, `count` written."""
    return Answer(completion("w " * count), delay_s=0.01)


def test_a_generation_ends_when_its_money_is_spent(stub: StubServer) -> None:
    stub.behave = lambda body: words(90)
    # One answer costs 0.00905 USD: five and a half fit.
    config = teacher(stub.url, price_in=10.0, price_out=100.0, spend_limit_usd=0.05)
    model = OpenAIChatModel(config)
    replies = ask(model, 60)
    answered = [reply for reply in replies if reply.is_ok]
    refused = [reply for reply in replies if not reply.is_ok]
    assert len(replies) == 60
    assert {reply.error_code for reply in refused} == {"spend_limit"}
    assert "0.05 USD" in refused[0].error
    assert "then resume" in refused[0].error
    # Sixteen are in flight, yet the limit is passed by one answer at most.
    assert len(answered) == 6
    assert len(stub.requests) == 6
    assert model.spending.spent_usd == pytest.approx(6 * 0.00905)


def test_what_was_spent_before_a_restart_counts(stub: StubServer) -> None:
    config = teacher(stub.url, price_in=10.0, price_out=100.0, spend_limit_usd=0.05)
    (reply,) = ask(OpenAIChatModel(config, spent_usd=0.06), 1)
    assert reply.error_code == "spend_limit"
    assert not stub.requests


def test_silent_servers_are_counted_by_length(stub: StubServer) -> None:
    body = completion("w" * 400)
    del body["usage"]
    stub.behave = lambda _: Answer(body)
    model = OpenAIChatModel(teacher(stub.url, price_in=10.0, price_out=100.0))
    ask(model, 1)
    assert model.spending.spent_usd == pytest.approx((10 * 10 + 100 * 100) / 1e6)


def test_without_a_price_nothing_is_counted() -> None:
    async def spend() -> float:
        meter = SpendMeter("T", None, 0.01)
        async with meter.reserve(1e9, 1e9):
            meter.add(1e9, 1e9)
        return meter.spent_usd

    assert asyncio.run(spend()) == 0.0


def test_a_request_dearer_than_the_rest_may_still_be_asked() -> None:
    async def spend() -> None:
        meter = SpendMeter("T", DEAR, limit_usd=0.001)
        async with meter.reserve(10, 1000):
            meter.add(10, 1000)
        with pytest.raises(TeacherSpendLimit):
            async with meter.reserve(1, 1):
                pytest.fail("asked beyond the limit")

    asyncio.run(spend())
