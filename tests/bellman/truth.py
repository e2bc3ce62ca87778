"""Random questions held against exact arithmetic: every method, criterion and representation, and no bound violated.

    python tests/bellman/truth.py 10000           # so many models, each asked everything: half an hour
    python tests/bellman/truth.py 100 --from 7    # a few, from another seed on

A check takes a seed, draws a model of any kind and a question about it, and raises where an answer is
wrong. The tests run fewer of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from models import DISCOUNTS, random_kind, random_model, random_policy

from retorno import bellman
from retorno.bellman.fractional import ZERO, action_value, fraction, rows_of
from retorno.core.mdp import MDP, ModelError
from retorno.core.numerals import as_fraction
from retorno.environments import formats

SWEEPS = 50
"""Where γ is nearly 1, only so many are made by each method; what is certified after them has to hold as well."""


def drawn(seed: int) -> tuple[MDP, float, bool, np.random.Generator]:
    """A model, a discount, whether to minimise, and what else may be drawn from."""
    generator = np.random.default_rng(seed)
    model = random_model(generator, random_kind(generator))
    return model, DISCOUNTS[generator.integers(len(DISCOUNTS))], bool(generator.random() < 0.5), generator


def ending(seed: int) -> bool:
    """Which of the two questions is asked at discount 1."""
    return seed % 2 == 1


@lru_cache(maxsize=256)
def optimum(seed: int) -> Any:
    """The exact answer, to which each method is held; None where no state has a finite value."""
    model, discount, minimise, _ = drawn(seed)
    try:
        return bellman.solve_exactly(model, discount, minimise=minimise, must_end=ending(seed))
    except ValueError:
        assert discount == 1
        return None


@lru_cache(maxsize=1024)
def worth(seed: int, policy: bytes) -> Any:
    """What a policy, given as the bytes of its probabilities, is worth exactly; None as above."""
    model, discount, _, _ = drawn(seed)
    try:
        return bellman.evaluate_exactly(model, np.frombuffer(policy), discount, must_end=ending(seed))
    except ValueError:
        assert discount == 1
        return None


def within(low: float, exact: Fraction | float, high: float) -> bool:
    """Whether low ≤ exact ≤ high, decided without rounding; infinities are allowed everywhere."""

    def below(a: Fraction | float, b: Fraction | float) -> bool:
        infinite = any(x in (-inf, inf) for x in (a, b))
        return a <= b if infinite else Fraction(a) <= Fraction(b)

    return below(low, exact) and below(exact, high)


def control(seed: int, method: Callable = bellman.auto, sweeps: int = 1_000_000) -> bool:
    """Bounds, ties and the policy's loss of an optimum; whether the bounds are as close as was asked."""
    model, discount, minimise, _ = drawn(seed)
    exact = optimum(seed)
    most = sweeps if discount > 0.99 else 1_000_000
    question = {"method": method, "minimise": minimise, "must_end": ending(seed), "sweeps": most}
    try:
        answer = bellman.solve(model, discount, **question)
    except ValueError:
        assert exact is None
        return True
    assert exact is not None
    finite = [s for s, v in enumerate(exact.value) if isinstance(v, Fraction)]
    for s, v in enumerate(exact.value):
        low, high = float(answer.lower[s]), float(answer.upper[s])
        assert within(low, v, high) if v == v else np.isnan(answer.value[s])
        assert low <= answer.value[s] <= high or np.isnan(answer.value[s])
    assert not (exact.optimal & ~answer.optimal)[np.isin(model.pair_state, finite)].any()
    if len(finite) == model.num_states and np.isfinite(answer.policy_loss_bound):
        own = worth(seed, answer.policy.tobytes())
        losses = [v - w if not minimise else w - v for v, w in zip(exact.value, own.value, strict=True)]
        assert max(losses) <= answer.policy_loss_bound
    scale = max(1.0, float(np.abs(model.reward).max())) / max(1 - discount, 0.01)
    width = (answer.upper[finite] - answer.lower[finite]).max(initial=0.0)
    return discount > 0.99 or bool(width <= max(1e-6, 1e-9 * scale))


def evaluation(seed: int, method: Callable) -> None:
    """Bounds of a policy's value."""
    model, discount, _, generator = drawn(seed)
    policy = random_policy(generator, model)
    exact = worth(seed, policy.tobytes())
    try:
        answer = bellman.evaluate(model, policy, discount, method=method, sweeps=300, must_end=ending(seed))
    except ValueError as error:
        assert "never terminates" in str(error) and exact is None
        return
    for s, v in enumerate(exact.value):
        low, high = float(answer.lower[s]), float(answer.upper[s])
        assert within(low, v, high) if v == v else np.isnan(answer.value[s])


def average(seed: int, method: Callable | None) -> None:
    """Bounds of the best gain and of what its policy loses; steps take time for half of the models."""
    model, _, minimise, generator = drawn(seed)
    duration = [None, generator.exponential(size=model.num_transitions) + 0.01][seed % 2]
    exact = bellman.average_exactly(model, minimise=minimise, duration=duration)
    answer = bellman.average_reward(model, minimise=minimise, duration=duration, method=method, sweeps=1000)
    for s, v in enumerate(exact.gain):
        assert within(float(answer.lower[s]), v, float(answer.upper[s]))
    own = bellman.evaluate_average_exactly(model, answer.policy, duration=duration)
    losses = [v - w if not minimise else w - v for v, w in zip(exact.gain, own.gain, strict=True)]
    assert max(losses) <= answer.policy_loss_bound


def average_of_a_policy(seed: int) -> None:
    """Bounds of a policy's gain."""
    model, _, _, generator = drawn(seed)
    policy = random_policy(generator, model)
    exact, answer = bellman.evaluate_average_exactly(model, policy), bellman.evaluate_average(model, policy)
    for s, v in enumerate(exact.gain):
        assert within(float(answer.lower[s]), v, float(answer.upper[s]))


def horizon(seed: int) -> None:
    """Bounds and ties of backward induction."""
    model, discount, minimise, generator = drawn(seed)
    steps = int(generator.integers(1, 7))
    answer = bellman.finite_horizon(model, steps, discount, minimise=minimise)
    rows = rows_of(model, as_fraction(discount), -1 if minimise else 1)
    value: list[Any] = [ZERO] * model.num_states
    for t in reversed(range(steps)):
        q = [action_value(rows, p, value) for p in range(model.num_pairs)]
        value = [max((q[p] for p in pairs), default=ZERO) for pairs in rows.pairs]
        for s, v in enumerate(value):
            assert within(float(answer.lower[t, s]), fraction(-v if minimise else v), float(answer.upper[t, s]))
            assert all(answer.optimal[t, p] for p in rows.pairs[s] if q[p] == v)


def representations(seed: int, folder: Path) -> None:
    """The same fractions from what keeps a model to the bit, and nearly the same values from all others."""
    model, discount, minimise, _ = drawn(seed)
    exact = optimum(seed)
    if exact is None:
        return
    for suffix in (".json", ".yaml", ".npz"):
        formats.save(model, folder / f"m{suffix}")
        back = formats.load(folder / f"m{suffix}")
        again = bellman.solve_exactly(back, discount, minimise=minimise, must_end=ending(seed)).value
        assert list(map(str, again)) == list(map(str, exact.value)), suffix
    if discount == 1:  # Chances of ending that are rounded may change what is infinite.
        return
    scale = max(1e-300, float(np.abs(model.reward).max())) / (1 - discount)
    for name, back in foreign(model, folder).items():
        value = bellman.solve(back, discount, minimise=minimise, accuracy=1e-9 * scale).value
        assert np.abs(value[: model.num_states] - [float(v) for v in exact.value]).max() <= 1e-6 * scale, name


def foreign(model: MDP, folder: Path) -> dict[str, MDP]:
    """The model as other libraries hold it, and back."""
    formats.save(model, folder / "m.tra")
    back = {
        "explicit": formats.load(folder / "m.tra"),
        "quantecon": formats.from_quantecon(*formats.to_quantecon(model)),
        "mdpsolver": formats.from_mdpsolver(**formats.to_mdpsolver(model)),
    }
    try:
        transition, reward = formats.to_matrices(model)
        back["matrices"] = formats.from_matrices(transition, action_reward=reward)
        dense = np.array([m.toarray() for m in transition])
        back["dense"] = formats.from_matrices(dense, reward_by_action=reward.T)
    except ModelError as error:
        assert "needs every action in every state" in str(error)
    try:
        # What is only entered by ends is taken for an end, unless episodes begin there.
        start = {int(s): float(model.initial[s]) for s in np.flatnonzero(model.initial)}
        back["gymnasium"] = formats.from_gymnasium(formats.to_gymnasium(model), start)
    except ModelError as error:
        assert "Gymnasium's P has no room" in str(error)
    return back


def checks(folder: Path) -> dict[str, Callable[[int], object]]:
    """All of them by name."""
    return {
        **{f"control: {m.__name__}": partial(control, method=m, sweeps=SWEEPS) for m in bellman.METHODS},
        "control: auto": control,
        **{
            f"evaluation: {m.__name__}": partial(evaluation, method=m)
            for m in (bellman.closed_form, bellman.iterative, bellman.krylov)
        },
        **{
            f"average: {m.__name__}": partial(average, method=m)
            for m in (bellman.relative_value_iteration, bellman.multichain_policy_iteration)
        },
        "average of a policy": average_of_a_policy,
        "finite horizon": horizon,
        "representations": partial(representations, folder=folder),
    }


def main() -> None:
    """Ask everything about so many models, and say how often an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    asked = parser.parse_args()
    began, wrong = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        all_checks = checks(Path(folder))
        for seed in range(asked.first, asked.first + asked.models):
            for name, check in all_checks.items():
                try:
                    check(seed)
                except Exception as error:
                    wrong += 1
                    print(f"seed {seed}, {name}: {type(error).__name__}: {error}", flush=True)
            if (seed + 1 - asked.first) % 1000 == 0:
                print(f"{seed + 1 - asked.first:,} models, {time.monotonic() - began:.0f} s, {wrong} wrong", flush=True)
    print(
        f"{asked.models:,} models × {len(all_checks)} checks = {asked.models * len(all_checks):,} answers, "
        f"{wrong} wrong ({time.monotonic() - began:.0f} s)"
    )


if __name__ == "__main__":
    main()
