"""Methods that Captum offers for one column of the forward function, for all columns from the same forwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def each_column(
    method: Callable[[Callable[..., Tensor]], Tensor],
    forward_func: Callable[..., Tensor],
    columns: Sequence[int],
    *,
    seed: int = 0,
) -> list[Tensor]:
    """Run a method once for every column, always with the same random numbers.

    It then asks for the same inputs every time, and the answers to the first column's questions serve all: k columns
    cost the forwards of one. The CPU's global random state is restored.

    Args:
        method: gets a function that returns one column, (m, ...), and returns its result.
        forward_func: inputs (m, ...) → (m, k, ...).
        columns: the columns to run for.
        seed: of the random numbers that ``method`` draws on the CPU.

    Raises:
        RuntimeError: the method asks for other inputs although its random numbers are the same.
    """
    replay = _Replay(forward_func)
    results = []
    for column in columns:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            results.append(method(replay.of(column)))
    return results


class _Replay:
    """Keeps what a forward function answered, with a sum of what it was asked, to tell whether it is asked again."""

    def __init__(self, forward_func: Callable[..., Tensor]) -> None:
        self.forward_func = forward_func
        self.answers: list[tuple[float, Tensor]] = []
        self.complete = False

    def of(self, column: int) -> Callable[..., Tensor]:
        """Return the function of one column; the first one asks, the others repeat."""
        repeated = iter(self.answers) if self.complete else None
        self.complete = True

        def ask(inputs: Tensor, *extra: Any) -> Tensor:
            fingerprint = float(inputs.sum(dtype=torch.float64))
            if repeated is None:
                self.answers.append((fingerprint, self.forward_func(inputs, *extra)))
                return self.answers[-1][1][:, column]
            before, answer = next(repeated, (None, inputs))
            if before != fingerprint or len(answer) != len(inputs):
                raise RuntimeError(
                    "expected a method that asks for the same inputs where its random numbers are the same; "
                    f"for column {column} it asked for others"
                )
            return answer[:, column]

        return ask
