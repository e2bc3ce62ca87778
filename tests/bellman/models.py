"""Random small models of every kind that has broken a solver, by seed or as a hypothesis strategy.

`random_model(generator)` draws one; `models()` is a strategy over its seed and shape, so that
hypothesis can shrink the numbers of states and actions and turn each oddity off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import hypothesis.strategies as st
import numpy as np

from retorno.core.mdp import MDP

SHAPES = ("anywhere", "deterministic", "chain", "cycle", "islands")
CHANCES = ("quarters", "thirds", "floats", "tiny", "zeros")
REWARDS = ("whole", "none", "floats", "large", "small", "mixed")
DISCOUNTS = (0.0, 0.3, 0.9, 0.99, 0.9999999, 1.0)
"""Of the question; .9999999 needs bounds that rounding has not blurred."""

SPLITS = ((1.0,), (0.5, 0.5), (0.25, 0.75), (0.25, 0.25, 0.5), (0.25,) * 4)


@dataclass(frozen=True)
class Kind:
    """What a random model is like. The first value of each is the plainest."""

    states: int = 3
    actions: int = 2
    """At most so many in a state."""
    shape: str = "anywhere"
    chances: str = "quarters"
    rewards: str = "whole"
    ending: float = 0.0
    """The probability that a transition terminates."""
    absorbing: float = 0.0
    """The probability that a state only leads to itself."""
    terminal: bool = False
    """Whether the last state has no actions."""
    ties: bool = False
    """Whether actions are copied from one another."""
    fractional: bool = False
    """Whether going on is discounted, differently in each transition."""


def random_kind(generator: np.random.Generator, most_states: int = 8, most_actions: int = 4) -> Kind:
    g = generator
    return Kind(
        states=int(g.integers(1, most_states + 1)),
        actions=int(g.integers(1, most_actions + 1)),
        shape=SHAPES[g.integers(len(SHAPES))],
        chances=CHANCES[g.integers(len(CHANCES))],
        rewards=REWARDS[g.integers(len(REWARDS))],
        ending=float(g.choice([0.0, 0.05, 0.3])),
        absorbing=float(g.choice([0.0, 0.0, 0.2])),
        terminal=bool(g.random() < 0.5),
        ties=bool(g.random() < 0.25),
        fractional=bool(g.random() < 0.15),
    )


def random_model(generator: np.random.Generator, kind: Kind | None = None) -> MDP:
    """One model; of a random kind unless told."""
    g = generator
    kind = kind or random_kind(g)
    states = kind.states
    acting = states - 1 if kind.terminal and states > 1 else states
    state_ptr, action, row_ptr = [0], [], [0]
    next_state: list[int] = []
    probability: list[float] = []
    reward: list[float] = []
    discount: list[float] = []
    for s in range(acting):
        only = g.random() < kind.absorbing
        rows: list[tuple[list[int], list[float], list[float], list[float]]] = []
        for _ in range(int(g.integers(1, kind.actions + 1))):
            if kind.ties and rows and g.random() < 0.5:
                rows.append(rows[int(g.integers(len(rows)))])
                continue
            chance = [1.0] if only or kind.shape == "deterministic" else _chances(g, kind.chances)
            target = [s] * len(chance) if only else _targets(g, kind.shape, s, states, len(chance))
            going = [
                0.0
                if n >= acting or g.random() < kind.ending
                else (g.choice([1.0, 0.5, 0.9]) if kind.fractional else 1.0)
                for n in target
            ]
            rows.append((target, chance, _rewards(g, kind.rewards, len(chance)), going))
        for target, chance, paid, going in rows:
            next_state += target
            probability += chance
            reward += paid
            discount += going
            row_ptr.append(len(next_state))
        action += range(len(rows))
        state_ptr.append(len(action))
    state_ptr += [len(action)] * (states - acting)
    initial = np.zeros(states)
    initial[:acting] = 1 / acting
    return MDP(
        state_ptr=np.array(state_ptr, np.int64),
        action=np.array(action, np.int64),
        row_ptr=np.array(row_ptr, np.int64),
        next_state=np.array(next_state, np.int64),
        probability=np.array(probability, float),
        reward=np.array(reward, float),
        discount=np.array(discount, float),
        initial=initial,
        state_names=tuple(f"s{i}" for i in range(states)),
        action_names=tuple(f"a{i}" for i in range(kind.actions)),
    )


def random_policy(generator: np.random.Generator, model: MDP) -> np.ndarray:
    """Probabilities [P]: stochastic, or one action in each state."""
    counts = np.diff(model.state_ptr)
    if generator.random() < 0.5:
        policy = np.zeros(model.num_pairs)
        acting = counts > 0
        policy[model.state_ptr[:-1][acting] + generator.integers(0, counts[acting])] = 1.0
        return policy
    weight = generator.random(model.num_pairs)
    total = np.bincount(model.pair_state, weight, minlength=model.num_states)
    return weight / total[model.pair_state]


@st.composite
def models(draw, most_states: int = 6, most_actions: int = 3, **fixed) -> MDP:
    """Models of every kind; `fixed` pins fields of `Kind`, as in `models(ending=0.0, rewards="whole")`."""
    choices = {
        "states": st.integers(1, most_states),
        "actions": st.integers(1, most_actions),
        "shape": st.sampled_from(SHAPES),
        "chances": st.sampled_from(CHANCES),
        "rewards": st.sampled_from(REWARDS),
        "ending": st.sampled_from([0.0, 0.05, 0.3]),
        "absorbing": st.sampled_from([0.0, 0.2]),
        "terminal": st.booleans(),
        "ties": st.booleans(),
        "fractional": st.booleans(),
    }
    assert choices.keys() == {f.name for f in fields(Kind)}
    kind = Kind(**{name: fixed[name] if name in fixed else draw(choice) for name, choice in choices.items()})
    return random_model(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), kind)


def discounts() -> st.SearchStrategy[float]:
    return st.sampled_from(DISCOUNTS)


def _chances(g: np.random.Generator, kind: str) -> list[float]:
    if kind == "quarters":
        return list(SPLITS[g.integers(len(SPLITS))])
    if kind == "thirds":
        n = int(g.choice([1, 3, 6, 7]))
        return [1 / n] * n
    if kind == "tiny":
        rare = float(10.0 ** -g.integers(3, 17))
        return [1 - rare, rare]
    if kind == "zeros":
        return [0.0, 0.5, 0.5, 0.0]  # stored, but no way to go
    weight = g.random(int(g.integers(1, 5))) + 1e-3
    return (weight / weight.sum()).tolist()


def _targets(g: np.random.Generator, shape: str, s: int, states: int, count: int) -> list[int]:
    if shape == "chain":
        return [min(max(s + step, 0), states - 1) for step in g.integers(-1, 2, count).tolist()]
    if shape == "cycle":
        # Three layers, each leading to the next alone: a period of up to three.
        layer = [n for n in range(states) if n % 3 == (s + 1) % 3] or [(s + 1) % states]
        return [layer[i] for i in g.integers(0, len(layer), count).tolist()]
    if shape == "islands":
        island = list(range(s - s % 2, min(s - s % 2 + 2, states)))
        return [island[i] for i in g.integers(0, len(island), count).tolist()]
    return g.integers(0, states, count).tolist()


def _rewards(g: np.random.Generator, kind: str, count: int) -> list[float]:
    whole = g.integers(-3, 4, count)
    if kind == "none":
        return [0.0] * count
    if kind == "whole":
        return whole.astype(float).tolist()
    if kind == "large":
        return (whole * 1e12).tolist()
    if kind == "small":
        return (whole * 1e-12).tolist()
    if kind == "mixed":
        return (whole * 10.0 ** g.integers(-12, 13, count)).tolist()
    return g.normal(0, 3, count).tolist()
