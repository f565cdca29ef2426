"""Pace and budget."""

import threading
from typing import Any

import pytest

from rivega_spacy.llm.limits import Budget, Pace
from rivega_spacy.post.errors import RivegaError


@pytest.mark.parametrize("rate", [20, 60, 500])
def test_no_minute_sees_more_requests_than_allowed(rate: int, fake_time: Any) -> None:
    pace = Pace(requests_per_minute=rate, clock=fake_time.clock, sleep=fake_time.sleep)
    sent = []
    for _ in range(4 * rate):
        pace.wait(10)
        sent.append(fake_time.now)
    most = max(sum(start <= time < start + 60 for time in sent) for start in sent)
    assert most <= rate
    # And it does not dawdle: nine tenths of what is allowed.
    assert len(sent) / (sent[-1] - sent[0]) * 60 >= 0.9 * rate


def test_tokens_are_paced_by_what_was_really_used(fake_time: Any) -> None:
    pace = Pace(tokens_per_minute=6000, clock=fake_time.clock, sleep=fake_time.sleep)
    began = fake_time.now
    for _ in range(40):
        pace.wait(300)
        pace.settle(300, 100)
    spent = fake_time.now - began
    # 40 x 100 tokens, less the bucket of 300, at 95 a second; by the estimates it would have been three times as long.
    assert 30 <= spent <= 46


def test_a_request_larger_than_the_bucket_is_sent_some_day(fake_time: Any) -> None:
    pace = Pace(tokens_per_minute=100, clock=fake_time.clock, sleep=fake_time.sleep)
    pace.wait(1000)
    pace.wait(1)
    assert fake_time.now - 1000.0 >= 600


def test_no_limits_no_waiting(fake_time: Any) -> None:
    pace = Pace(clock=fake_time.clock, sleep=fake_time.sleep)
    for _ in range(1000):
        pace.wait(10**9)
    assert fake_time.slept == []


def test_a_pause_holds_all_and_the_longer_one_stands(fake_time: Any) -> None:
    pace = Pace(clock=fake_time.clock, sleep=fake_time.sleep)
    pace.pause(10)
    pace.pause(3)
    pace.wait(1)
    assert fake_time.slept == [10.0]


@pytest.mark.parametrize("options", [{"requests_per_minute": 0}, {"tokens_per_minute": -5}, {"requests_per_minute": float("nan")}])
def test_impossible_rates_are_refused(options: Any) -> None:
    with pytest.raises(RivegaError, match="per_minute"):
        Pace(**options)


def test_a_budget_of_money() -> None:
    budget = Budget(cost=1.0, price_in=1000.0, price_out=2000.0)
    assert budget.reserve(100, 100)  # 0.3
    assert budget.reserve(100, 100)
    assert budget.reserve(100, 100)
    for output in (0, 0, 100):
        budget.settle(100, output, reserved_input=100, reserved_output=100, answered=True)
    assert budget.spent["cost"] == pytest.approx(0.5)
    assert budget.reserve(200, 150)
    budget.settle(200, 150, reserved_input=200, reserved_output=150, answered=True)
    assert not budget.reserve(1, 0)
    assert budget.describe() == "4 requests, 750 tokens, 1.0000 of 1.0 cost"


def test_a_request_waits_for_reservations_but_not_for_what_is_spent() -> None:
    budget = Budget(tokens=100)
    assert budget.reserve(60, 0)
    late: list = []
    thread = threading.Thread(target=lambda: late.append(budget.reserve(60, 0)))
    thread.start()
    budget.settle(10, 0, reserved_input=60, reserved_output=0, answered=True)
    thread.join(30)
    assert late == [True]
    budget.settle(60, 0, reserved_input=60, reserved_output=0, answered=True)
    assert budget.reserve(60, 0) is False


def test_a_budget_of_money_needs_prices() -> None:
    with pytest.raises(RivegaError, match="price_in"):
        Budget(cost=3.0)


def test_many_threads_share_one_budget() -> None:
    budget = Budget(requests=100)
    granted = []

    def work() -> None:
        for _ in range(50):
            if budget.reserve(1, 1):
                granted.append(1)
                budget.settle(1, 1, reserved_input=1, reserved_output=1, answered=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 100 == budget.spent["requests"]
