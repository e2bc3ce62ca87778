"""The token task: by hand, against its exact model, and what memory is worth."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retorno import bellman
from retorno.core.time_step import legal_mask
from retorno.environments.text.tokens import END, Tokens, ambiguous, hidden_pattern

reset = jax.jit(lambda world, key: world.reset(key))
step = jax.jit(lambda world, state, action, key: world.step(state, action, key))


def write(world, tokens):
    """The rows of a text, as far as it goes."""
    state, row = reset(world, jax.random.key(0))
    rows = [row]
    for token in tokens:
        state, row = step(world, state, jnp.int32(token), jax.random.key(0))
        rows.append(row)
        if row.last:
            break
    return rows


def returns(rows):
    return sum(float(row.reward) for row in rows)


def test_a_text_by_hand():
    world = Tokens(pattern=(2, 1, 2), vocabulary=4, cost=0.25, limit=8)
    rows = write(world, [2, 3, 1, 2, 2, END])
    assert [int(row.obs) for row in rows] == [END, 2, 3, 1, 2, 2, END]
    assert [float(row.reward) for row in rows] == [0, 0.75, -0.25, 0.75, 0.75, -0.25, -0.25]
    assert [float(row.discount) for row in rows] == [1, 1, 1, 1, 1, 1, 0]
    assert rows[-1].last and not rows[-2].last and rows[0].legal is None


def test_a_long_text_is_cut_not_ended():
    rows = write(Tokens(limit=6), [7] * 9)
    assert len(rows) == 7 and rows[-1].last and rows[-1].discount == 1


def test_ending_at_once_costs_one_token():
    assert returns(write(Tokens(cost=0.125), [END])) == -0.125


def test_a_prompt_leaves_no_choice():
    world = Tokens(pattern=(1, 2), vocabulary=4, cost=0.5, limit=4, prompts=((3, 3),))
    rows = write(world, [3, 3, 1, 2, END])
    assert [int(row.legal.action) for row in rows] == [3, 3, -1, -1, -1, -1]
    assert [float(row.reward) for row in rows] == [0, 0, 0, 0.5, 0.5, -0.5]
    assert len(write(world, [3, 3, 1, 1, 1, 1, 1])) == 1 + 2 + 4


@pytest.mark.parametrize("prompt", [(), (6, 2)])
def test_the_model_knows_the_optimum(prompt):
    world = Tokens(prompts=(prompt,) if prompt else ())
    solution = bellman.solve(world.model(), discount=1.0)
    best = len(world.pattern) * (1 - world.cost) - world.cost
    assert solution.start_value == pytest.approx(best, abs=1e-6)
    assert returns(write(world, [*prompt, *world.pattern, END])) == pytest.approx(best, abs=1e-5)
    # The optimal policy, read from the model, writes just that.
    model, state, text = solution.model, int(np.argmax(solution.model.initial)), []
    while not model.terminal[state]:
        ((name),) = solution.actions(state)
        text.append(int(name))
        pair = model.state_ptr[state] + [model.action_names[a] for a in model.action[model.state_ptr[state] :]].index(
            name
        )
        state = int(model.next_state[model.row_ptr[pair]])
    assert text == [*prompt, *world.pattern, END]


def test_the_world_does_what_its_model_says():
    """Random texts give the model's rewards, discounts and states, transition by transition."""
    world = Tokens(pattern=(1, 2, 1), vocabulary=3, limit=50, prompts=((2,), (1, 1, 2), ()))
    model = world.model()
    rng = np.random.default_rng(0)
    begun = set()
    for text in range(20):
        state, row = reset(world, jax.random.key(text))
        s = model.state_names.index(f"prompt {int(state.prompt)}, row 0")
        begun.add(s)
        while not row.last:
            legal = np.flatnonzero(legal_mask(row.legal, world.vocabulary))
            token = int(rng.choice(legal))
            np.testing.assert_array_equal(legal, np.flatnonzero(model.legal[s]))
            pair = model.state_ptr[s] + int((np.flatnonzero(model.legal[s]) == token).argmax())
            transition = model.row_ptr[pair]
            state, row = step(world, state, jnp.int32(token), jax.random.key(0))
            assert float(row.reward) == pytest.approx(model.reward[transition], abs=1e-6)
            assert float(row.discount) == model.discount[transition]
            s = int(model.next_state[transition])
            if row.discount:
                free = model.state_names[s].startswith("matched")
                assert not free or model.state_names[s] == f"matched {int(state.matched)}"
    np.testing.assert_allclose(model.initial[sorted(begun)], 1 / 3)


def test_texts_that_begin_together_are_free_together():
    """A shorter prompt waits on tokens 0 that end nothing and cost nothing."""
    world = Tokens(vocabulary=8, prompts=((7, 6, 5), (4,)))
    kinds = set()
    for seed in range(8):
        state, row = reset(world, jax.random.key(seed))
        forced = []
        for _ in range(3):
            forced.append(int(row.legal.action))
            state, row = step(world, state, row.legal.action, jax.random.key(0))
            assert not row.last and row.reward == 0 and row.obs == forced[-1]
        assert row.legal.action == -1
        kinds.add(tuple(forced))
    assert kinds == {(7, 6, 5), (0, 0, 4)}


def test_the_last_token_alone_is_not_enough():
    """Brute force: no map from last token to next token reaches the optimum that remembering reaches."""
    world = Tokens(pattern=(1, 2, 1, 3), vocabulary=4, cost=0.1, limit=12)

    def text_return(follower):
        """One text of a policy without memory, in plain Python."""
        token, matched, total = END, 0, 0.0
        for _ in range(world.limit):
            token = follower[token]
            right = token != END and matched < 4 and token == world.pattern[matched]
            matched, total = matched + right, total + right - world.cost
            if token == END:
                break
        return total

    best = max(text_return(follower) for follower in product(range(4), repeat=4))
    optimum = bellman.solve(world.model(), discount=1.0).start_value
    assert best < optimum - 0.5
    assert ambiguous(world.pattern) and ambiguous(Tokens().pattern)
    # Where no token has two followers, the last one is enough.
    assert not ambiguous((1, 2, 3))


def test_hidden_patterns_follow_their_seed():
    patterns = [hidden_pattern(seed, length=6, vocabulary=5) for seed in range(50)]
    assert patterns == [hidden_pattern(seed, length=6, vocabulary=5) for seed in range(50)]
    assert len(set(patterns)) > 45 and all(ambiguous(p) and len(p) == 6 and 0 < min(p) <= max(p) < 5 for p in patterns)
    assert ambiguous(hidden_pattern(0, length=2, vocabulary=2))


def test_impossible_texts_are_refused():
    with pytest.raises(ValueError, match="tokens 1 to 7"):
        Tokens(pattern=(1, 8))
    with pytest.raises(ValueError, match="leave room"):
        Tokens(limit=5)
    with pytest.raises(ValueError, match="length >= 2"):
        hidden_pattern(0, length=1)
