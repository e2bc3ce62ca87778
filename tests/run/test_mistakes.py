"""What people write in Python: what is plain works, the rest is one sentence with the right line."""

import gymnasium
import pytest

import retorno as rt
from retorno.algorithms.published import settings
from retorno.networks import Activation
from retorno.run.probe import probe

STUDENT = rt.environments.student()


def test_what_is_plain_works():
    assert rt.PPO(network="gru", optimiser=rt.SGD) == rt.PPO(network=rt.networks.GRU(), optimiser=rt.SGD())
    assert rt.networks.MLP([8, 8], "relu") == rt.networks.MLP(hidden=(8, 8), activation=Activation.relu)
    assert rt.networks.MLP(hidden=8).hidden == (8,) and rt.PPO(epochs=2.0).epochs == 2
    assert rt.QLearning(exploration="UCB") == rt.QLearning(exploration=rt.policies.UCB)
    assert hash(rt.algorithms.TD(target=rt.policies.Tabulated([[0.5, 0.5]])))
    known = rt.solve(STUDENT, 0.9).start_value
    assert rt.solve(STUDENT, "9/10").start_value == known
    for same in ("student", rt.environments.student):
        assert rt.solve(same, 0.9).start_value == known
    table = {"a": {"go": [(1.0, "end", 2.0)]}}
    assert rt.solve(table, 0.9).start_value == rt.bellman.solve(table, 0.9).start_value == 2
    assert rt.solve(gymnasium.make("FrozenLake-v1"), 0.9).model.num_states == 16


@pytest.mark.filterwarnings("ignore:.* has taken no step")
def test_training_by_names_classes_and_models():
    for algorithm, world in (("Q-Learning", "cliff"), (rt.QLearning, STUDENT), ("ppo", "CartPole-v1")):
        with rt.train(algorithm, world) as run:
            assert run.steps == (settings("q_learning", "cliff").steps if world == "cliff" else 100_000)
    assert run.algorithm == settings("ppo", "CartPole-v1").algorithm
    with rt.train(rt.QLearning(), gymnasium.make("FrozenLake-v1"), 1e3, seed=3.0) as run:
        assert (run.steps, run.seeds, run.world.action_space.n) == (1000, (3,), 4)
    told = repr(run)
    assert told == "<training of QLearning on FrozenLake-v1: step 0 of 1,000, seed 3>"
    with pytest.warns(UserWarning, match=r"has taken no step, .* as by run.run_to_end\(\)"):
        result = rt.evaluate(run, episodes=2)
    assert repr(result) == f"<evaluation: {result}>" and result._repr_html_() == f"<pre>{result}</pre>"
    for call, message in (
        (lambda: rt.evaluate("student", run), r"comes first, then the world: evaluate\(run, world\)"),
        (lambda: rt.evaluate(run, "student"), "learnt with are Discrete"),
        (lambda: rt.evaluate(run, episodes="5"), "episodes must be positive and whole, got '5'"),
        (lambda: rt.evaluate(rt.QLearning(), "student"), "is nothing that was learnt"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rt.PPO(network="grru"), r"network must be one of Table\(…\), .*got 'grru'; did you mean gru"),
        (lambda: rt.QLearning(exploration=0.1), r"exploration must be one of Epsilon\(…\)"),
        (lambda: rt.PPO(anneal_clip="yes"), "anneal_clip must be True or False, got 'yes'"),
        (lambda: rt.networks.MLP(activation="rel"), "activation must be one of tanh, .*did you mean relu"),
        (lambda: rt.networks.MLP(hidden="a"), r"hidden must be whole numbers, as in \(64, 64\)"),
        (lambda: rt.networks.GRU(width=2.5), "width must be a whole number, got 2.5"),
        (lambda: rt.QLearning(gamma=0.9), "QLearning has no 'gamma': here it is called 'discount'"),
        (lambda: rt.solve("student", gamma=0.9), "solve has no argument 'gamma': here it is called 'discount'"),
        (lambda: rt.train("ppo", "cliff", total_timesteps=9), "here it is called 'steps'"),
        (lambda: rt.train("ppo", "cliff", gamma=0.9), "settings are given to it, as in PPO"),
        (lambda: rt.QLearning(lr=0.9), "here it is called 'step_size'"),
        (lambda: rt.PPO(lr=0.9), r"PPO\(optimiser=Adam\(learning_rate=…\)\)"),
        (lambda: rt.networks.MLP(hiden=3), "MLP has no 'hiden'; did you mean hidden"),
        (lambda: rt.train("pppo", "CartPole-v1"), "no algorithm 'pppo'; did you mean ppo"),
        (lambda: rt.train("student", rt.QLearning()), "the algorithm comes first, then the world"),
        (lambda: rt.train(3, "student"), "3 is no algorithm"),
        (lambda: rt.train(rt.QLearning(), "studen"), "no world 'studen'; did you mean student"),
        (lambda: rt.train(rt.QLearning(), "student", "100"), "steps must be positive, got '100'"),
        (lambda: rt.train(rt.QLearning(), "student", 1.5), "steps must be whole, got 1.5"),
        (lambda: rt.train(rt.QLearning(), "student", seed="a"), "seeds must be different integers"),
        (lambda: rt.train(rt.QLearning(step_size=1.5), "student"), "step_size 1.5 overshoots"),
        (lambda: rt.bellman.solve("student", 0.9), "rt.solve..student., ….` takes names"),
        (lambda: rt.bellman.solve(STUDENT, 0.9, method="value-iteration"), "method=retorno.bellman.value_iteration"),
        (lambda: rt.bellman.solve(rt.make("student"), 0.9), "got TimeLimit.*only acted in has none"),
        (lambda: rt.sampled(rt.environments.student), "expected a model .an MDP., got .*call it first"),
        (lambda: rt.solve("CartPole-v1"), "has no exact model, it can only be lived in"),
        (lambda: rt.solve(3), "has no model: pass a model"),
        (lambda: rt.Ppo, "retorno has no 'Ppo'; did you mean PPO"),
        (lambda: rt.ExpectedSARSA, "it is retorno.algorithms.ExpectedSARSA"),
        (lambda: rt.environments.studen, "retorno.environments has no 'studen'; did you mean student"),
        (lambda: probe(rt.QLearning(), "random_walk", 2, lambda *_: 0, seeds=2), r"pass seeds=range\(2\)"),
    ],
)  # fmt: skip
def test_the_rest_is_one_sentence(call, message):
    with pytest.raises((ValueError, TypeError, AttributeError), match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_what_is_shown_can_be_read():
    assert repr(rt.networks.GRU()).startswith("GRU(width=64, embed=(64,), activation=Activation.tanh")
    assert "network=MLP(), " in repr(rt.PPO()) and "optimiser=Adam(learning_rate=0.0003, max_g" in repr(rt.PPO())
    assert repr(STUDENT).startswith("<MDP of 5 states (Facebook, C1, C2, C3, …), 8 pairs")
    assert "start value" in repr(rt.solve(STUDENT, 0.9)) and "array" not in repr(rt.solve(STUDENT, 0.9))
    assert "5 states and 5 actions" in repr(rt.sampled(STUDENT))
    for shown in (rt.PPO(), STUDENT, rt.solve(STUDENT, 0.9)):
        html = shown._repr_html_()
        assert html.startswith("<table>") and html.count("<tr>") == html.count("</tr>") > 3
    large = rt.environments.random_walk(100)
    assert large._repr_html_().count("<tr>") == 62 and "and 1 more" in rt.solve(large, 0.9)._repr_html_()
    assert rt.plots.model_graph(STUDENT)._repr_png_().startswith(b"\x89PNG")
