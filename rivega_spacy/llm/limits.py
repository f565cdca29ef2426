"""Limits: requests and tokens a minute, a pause that the server asked for, and a budget that stops cleanly."""

import threading
import time
from collections.abc import Callable

from ..post.errors import Errors, RivegaError

# Shorter waits than this are none: a clock's rounding must not make anybody wait for ever.
_CLOCK = 1e-6


class Pace:
    """Requests and tokens a minute, shared by all threads of one client.

    A bucket each: it holds a twentieth of a minute's worth and fills at 19 twentieths of the rate, so that no window of a minute sees
    more than the rate (of 20 a minute and up; below that one request more). It may go into debt for a request larger than what it
    holds, so that no request is too large to ever be sent. `clock` and `sleep` are there for tests.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rates: dict[str, float] = {}
        for name, value in (("requests", requests_per_minute), ("tokens", tokens_per_minute)):
            if value is not None:
                if not value > 0:
                    raise RivegaError(
                        Errors.E416.format(field=f"{name}_per_minute", value=value, wanted="a positive number or null")
                    )
                self.rates[name] = float(value)
        self.tops = {name: max(1.0, rate / 20) for name, rate in self.rates.items()}
        self.levels = dict(self.tops)
        self.clock = clock
        self.sleep = sleep
        self.updated = clock()
        self.resume = 0.0
        self.lock = threading.Lock()

    def wait(self, tokens: int) -> None:
        """Return when a request of that many tokens may be sent; it is then counted.

        tokens (int): Estimate for prompt and answer together.
        """
        while True:
            with self.lock:
                delay = self._delay(tokens)
                if delay <= _CLOCK:
                    for name in self.levels:
                        self.levels[name] -= 1.0 if name == "requests" else float(tokens)
                    return
            self.sleep(delay)

    def settle(self, estimated: int, used: int) -> None:
        """Replace an estimate by what the server counted."""
        if "tokens" in self.levels:
            with self.lock:
                self.levels["tokens"] += estimated - used

    def pause(self, seconds: float) -> None:
        """Let nobody send anything for that long (Retry-After); a longer pause under way stands."""
        with self.lock:
            self.resume = max(self.resume, self.clock() + seconds)

    def _delay(self, tokens: int) -> float:
        now = self.clock()
        passed, self.updated = now - self.updated, now
        delay = self.resume - now
        for name, rate in self.rates.items():
            fill = rate * 0.95 / 60
            self.levels[name] = min(self.tops[name], self.levels[name] + passed * fill)
            need = min(self.tops[name], 1.0 if name == "requests" else float(tokens))
            delay = max(delay, (need - self.levels[name]) / fill)
        return delay


class Budget:
    """What a run of this process may use at most; None is no limit.

    Each request reserves what it may need at most, and gives back what it did not use, so that requests in flight together cannot
    overrun the budget; where only reservations of others stand in the way, it waits for them to be settled.

    requests (Optional[int]): Answers.
    tokens (Optional[int]): Tokens, prompt and answer together.
    cost (Optional[float]): In the currency of the prices.
    price_in (float), price_out (float): For a million tokens of prompt and of answer.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        cost: float | None = None,
        price_in: float = 0.0,
        price_out: float = 0.0,
    ) -> None:
        self.limits = {"requests": requests, "tokens": tokens, "cost": cost}
        for name, value in self.limits.items():
            if value is not None and not value >= 0:
                raise RivegaError(Errors.E416.format(field=f"budget.{name}", value=value, wanted="a number from 0 up, or null"))
        if cost is not None and not (price_in > 0 or price_out > 0):
            raise RivegaError(Errors.E416.format(field="budget.price_in", value=price_in, wanted="given where `cost` is limited"))
        self.price_in = price_in
        self.price_out = price_out
        self.spent: dict[str, float] = {"requests": 0, "tokens": 0, "cost": 0.0}
        self.reserved = dict(self.spent)
        self.input_tokens = 0
        self.output_tokens = 0
        self.lock = threading.Condition()

    def __getstate__(self) -> dict[str, object]:
        state = dict(self.__dict__)
        del state["lock"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.reserved = dict.fromkeys(self.spent, 0)
        self.lock = threading.Condition()

    def reserve(self, input_tokens: int, output_tokens: int) -> bool:
        """Set aside what a request may need; False if that is more than is left."""
        need = self._use(input_tokens, output_tokens)
        with self.lock:
            while True:
                limits = [(name, limit) for name, limit in self.limits.items() if limit is not None]
                if any(self.spent[name] + need[name] > limit for name, limit in limits):
                    return False
                if all(self.spent[name] + self.reserved[name] + need[name] <= limit for name, limit in limits):
                    break
                self.lock.wait()
            for name, value in need.items():
                self.reserved[name] += value
        return True

    def settle(self, input_tokens: int, output_tokens: int, *, reserved_input: int, reserved_output: int, answered: bool) -> None:
        """Replace a reservation by what was used: nothing but the tokens, if there was no answer."""
        reserved = self._use(reserved_input, reserved_output)
        used = self._use(input_tokens, output_tokens)
        used["requests"] = 1 if answered else 0
        with self.lock:
            for name in self.spent:
                self.reserved[name] = max(0, self.reserved[name] - reserved[name])
                self.spent[name] += used[name]
            self.lock.notify_all()
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens

    def describe(self) -> str:
        """What was spent, of what: "120 of 120 requests, 61000 tokens"."""
        with self.lock:
            spent = dict(self.spent)
        parts = []
        for name, limit in self.limits.items():
            if name == "cost" and limit is None:
                continue
            value = f"{spent[name]:.4f}" if name == "cost" else f"{int(spent[name])}"
            parts.append(f"{value} {name}" if limit is None else f"{value} of {limit} {name}")
        return ", ".join(parts)

    def _use(self, input_tokens: int, output_tokens: int) -> dict[str, float]:
        cost = (input_tokens * self.price_in + output_tokens * self.price_out) / 1e6
        return {"requests": 1, "tokens": input_tokens + output_tokens, "cost": cost}


def make_budget(
    requests: int | None = None,
    tokens: int | None = None,
    cost: float | None = None,
    price_in: float = 0.0,
    price_out: float = 0.0,
) -> Budget:
    """`rivega.Budget.v1`: see `Budget`."""
    return Budget(requests, tokens, cost, price_in, price_out)
