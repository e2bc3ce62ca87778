"""`retorno model` and its summary: worked by hand, against brute force, and at size."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retorno.core.mdp import MDP, Numbered, mdp
from retorno.environments import garnet, load, save, student, summarise
from retorno.environments.formats import ModelWarning, from_rows

YAML = """\
initial: home
states:
  home:
    walk:
      - {to: office, probability: 2/3, reward: -1}
      - {to: home, probability: 1/3}
    ride: {to: office, reward: -3}
  office: {}
  limbo:
    wait: {to: limbo, reward: 1}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(YAML)
    return path


def lines(out):
    """{what: told}."""
    return {line[:18].strip(): line[18:].strip() for line in out.splitlines()}


def test_a_file_is_summarised(cli, file):
    code, out, err = cli("model", file)
    told = lines(out)
    assert (code, err) == (0, "")
    assert told["states"] == "3: home, office, limbo"
    assert told["initial"] == "1 state (home)" and told["terminal"] == "1 state (office)"
    assert told["unreachable"] == "1 state (limbo)"
    assert told["actions"] == "3: walk, ride, wait; at most 2 a state"
    assert told["transitions"] == "4, 2 of them end the episode; at most 2 a pair"
    assert told["rewards"] == "-3 to 1" and told["discounts"].startswith("1 where it goes on, 0 where it ends")
    assert told["every policy ends"].startswith("no: a policy can stay for ever in 1 state (limbo), 1 end component")
    assert told["some policy ends"].endswith(
        "1 state (limbo), and none can end at all, 1 recurrent class; none of them is reachable"
    )
    assert max(map(len, out.splitlines())) < 160


def test_json_is_one_object_with_the_same(cli, file):
    code, out, err = cli("model", file, "--json")
    row = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert (row["states"], row["pairs"], row["transitions"], row["components"]) == (3, 3, 4, 2)
    assert row["unreachable_states"] == row["endless_states"] == ["limbo"] and row["rewards"] == [-3.0, 1.0]
    assert (row["every_policy_ends"], row["some_policy_ends"], row["other_discounts"]) == (False, False, None)


def test_names_and_conversion_between_all_formats(cli, tmp_path):
    source = "student"
    for suffix in ("json", "yaml", "npz", "tra"):
        target = tmp_path / f"student.{suffix}"
        code, _, err = cli("model", source, "--out", target)
        assert code == 0 and f"written to {target}" in err.replace("\n", "")
        source = target
    assert load(source).probability.tolist() == student().probability.tolist()


def test_storms_layout(cli, tmp_path):
    assert cli("model", "student", "--out", tmp_path / "m.tra", "--storm")[0] == 0
    assert (tmp_path / "m.tra").read_text().startswith("mdp\n") and load(tmp_path / "m.tra").num_states == 5


def test_a_label_of_an_explicit_file_ends_episodes(cli, tmp_path):
    (tmp_path / "m.tra").write_text("dtmc\n0 1 1\n1 0 1\n")
    (tmp_path / "m.lab").write_text("#DECLARATION\ninit goal\n#END\n0 init\n1 goal\n")
    assert lines(cli("model", tmp_path / "m.tra")[1])["terminal"] == "none"
    code, out, _ = cli("model", tmp_path / "m.tra", "--terminal", "goal", "--out", tmp_path / "m.json")
    assert code == 0 and lines(out)["terminal"] == "1 state (1)"
    with pytest.warns(ModelWarning, match="no reward was found"):
        assert load(tmp_path / "m.json").terminal.tolist() == [False, True]
    assert "no label 'gaol'" in cli("model", tmp_path / "m.tra", "--terminal", "gaol")[2]
    told = lines(cli("model", tmp_path / "m.tra")[1])
    assert told["labels"] == "goal (1 state)" and told["rewards"] == "none: nothing is ever paid"
    assert lines(cli("model", "student", "--terminal", "C2")[1])["terminal"] == "2 states (C2, Sleep)"
    assert "columns (--columns) is for a model's file" in cli("model", "student", "--columns", "s,a,r,sp")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json"], "nothing.json: No such file"),
        (["studnt"], "no exact model of 'studnt'; did you mean student"),
        ([], "retorno model needs FILE|NAME"),
        (["student", "--out", "student.txt"], "the suffix of a model's file is one of"),
        (["student", "--out", "/nowhere/student.json"], "/nowhere/.student.json"),
        (["student", "--storm", "--out", "m.json"], "--storm is for writing: --out MODEL.tra --storm"),
        (["student", "--jsn"], "did you mean --json"),
    ],
)
def test_what_is_wrong_is_one_line(cli, arguments, message):
    code, _, err = cli("model", *arguments)
    assert code == 2 and err.startswith("retorno: ") and err.count("\n") == 1 and message in err


def test_a_bad_file_is_one_line(cli, file):
    file.write_text(YAML.replace("2/3", "0.6"))
    code, out, err = cli("model", file)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{file}: state 'home', action 'walk': probabilities sum to 0.933333333333" in err


def test_a_file_is_solved_and_trained_on_as_a_world(cli, file, tmp_path):
    code, out, _ = cli("solve", file, "--discount", "0.9", "--json")
    assert code == 0 and json.loads(out)["value"]["home"] == pytest.approx(-2 / 3 / (1 - 0.3))
    code, _, err = cli("train", "q_learning", file, "--steps", "2000", "--episodes", "10", "--folder", tmp_path / "run")
    assert code == 0, err
    assert "native world" in cli("train", "q_learning", file, "--hosted", "--folder", tmp_path / "other")[2]


# The summary


def test_the_student_can_go_on_for_ever_and_can_end():
    found = summarise(student())
    assert not found.every_policy_ends and found.some_policy_ends and found.end_components == 1
    assert (found.components, found.largest_component, len(found.endless)) == (1, 4, 4)


def test_by_hand_two_traps_and_a_gamble():
    """`gamble` may end or fall into a trap of two states; `safe` ends; `trap` never does; `alone` stays."""
    model = mdp(
        {
            "gamble": {"go": [(0.5, "end", 0), (0.5, "trap", 0)], "wait": [(1, "gamble", 1)]},
            "safe": {"go": [(1, "end", 0)], "risk": [(1, "gamble", 0)]},
            "trap": {"go": [(1, "pit", 5)]},
            "pit": {"go": [(1, "trap", 5)]},
            "alone": {"stay": [(1, "alone", 0)]},
            "end": {},
        },
        initial="safe",
    )
    found = summarise(model)
    named = lambda states: {model.state_names[s] for s in states}  # noqa: E731
    assert named(found.unreachable) == {"alone"} and named(found.terminal) == {"end"}
    assert named(found.endless) == {"gamble", "trap", "pit", "alone"} and found.end_components == 3
    assert named(found.unending) == {"gamble", "trap", "pit", "alone"} and named(found.hopeless) == {
        "trap",
        "pit",
        "alone",
    }
    assert found.recurrent_classes == 2 and (found.components, found.largest_component) == (4, 2)
    assert "none can end at all from 3 states (trap, pit, alone), 2 recurrent classes" in str(found)


def test_a_discount_is_a_chance_to_end():
    found = summarise(from_rows([0, 1], [0, 1], [0], [1.0], state_reward=[1], discount=[0.5]))
    assert found.every_policy_ends and found.some_policy_ends and found.other_discounts == (0.5, 0.5)
    assert "0.5 to 0.5 in places" in str(found)


@st.composite
def small(draw):
    """Up to five states, up to two actions, transitions that end, chances of 0."""
    n = draw(st.integers(1, 5))
    acts = [s == 0 or draw(st.booleans()) for s in range(n)]
    state_ptr, action, row_ptr, rows = [0], [], [0], []
    for s in range(n):
        for a in range(draw(st.integers(1, 2)) if acts[s] else 0):
            action.append(a)
            to = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=2))
            chances = [1.0] if len(to) == 1 else draw(st.sampled_from([[0.5, 0.5], [1.0, 0.0]]))
            rows += [(t, p, float(acts[t] and draw(st.booleans()))) for t, p in zip(to, chances, strict=True)]
            row_ptr.append(len(rows))
        state_ptr.append(len(action))
    to, p, d = (np.array(x) for x in zip(*rows, strict=True))
    first = np.zeros(n)
    first[draw(st.integers(0, n - 1))] = 1
    return MDP(
        state_ptr=np.array(state_ptr),
        action=np.array(action),
        row_ptr=np.array(row_ptr),
        next_state=to,
        probability=p,
        reward=np.zeros(len(to)),
        discount=d,
        initial=first,
        state_names=Numbered(n),
        action_names=Numbered(2),
    )


def closure(step):
    """Which state can come to which, itself included."""
    reach = np.eye(len(step), dtype=bool) | step
    for _ in range(len(step)):
        reach = reach | (reach.astype(int) @ reach.astype(int) > 0)
    return reach


@settings(max_examples=300, deadline=None)
@given(small())
def test_every_deterministic_policy_tells_the_same(model):
    """Brute force: a policy ends for certain from s iff its chain leads from s to no state that cannot end."""
    n = model.num_states
    pairs = [range(model.state_ptr[s], model.state_ptr[s + 1]) for s in range(n)]

    def row(p):
        went, ends = np.zeros(n, bool), False
        for t in range(model.row_ptr[p], model.row_ptr[p + 1]):
            if model.probability[t] and model.discount[t]:
                went[model.next_state[t]] = True
            elif model.probability[t]:
                ends = True
        return went, ends

    rows = [row(p) for p in range(model.num_pairs)]
    certain, possible, endless, classes = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool), set()
    for policy in itertools.product(*(choices or [None] for choices in pairs)):
        step = np.array([rows[p][0] if p is not None else np.zeros(n, bool) for p in policy])
        ends = np.array([p is None or rows[p][1] for p in policy])
        reach = closure(step)
        able = (reach & ends).any(axis=1)
        possible |= able
        surely = ~(reach & ~able).any(axis=1)
        certain |= surely
        endless |= np.array([not able[s] and reach[reach[s]][:, s].all() for s in range(n)])
    found = summarise(model)
    acting = ~model.terminal
    assert set(found.unending) == set(np.flatnonzero(acting & ~certain))
    assert set(found.hopeless) == set(np.flatnonzero(acting & ~possible))
    assert set(found.endless) == set(np.flatnonzero(endless & acting))
    step = np.zeros((n, n), bool)
    for p, s in enumerate(model.pair_state):
        step[s] |= rows[p][0]
    reach = closure(step)
    assert found.components == len({tuple(reach[s] & reach[:, s]) for s in np.flatnonzero(acting)})
    hopeless = np.flatnonzero(acting & ~possible)
    classes = {tuple(reach[s]) for s in hopeless if all(reach[t, s] for t in np.flatnonzero(reach[s]))}
    assert found.recurrent_classes == len(classes)
    start = int(np.argmax(model.initial))
    ways = [model.probability[t] > 0 and reach[start, model.pair_state[p]] for t, p in enumerate(model.transition_pair)]
    entered = set(model.next_state[ways].tolist())
    reached = set(np.flatnonzero(reach[start])) | {s for s in entered if model.terminal[s]}
    assert set(found.unreachable) == set(range(n)) - reached


def test_a_large_chain_is_summarised():
    """200,000 states in a row: what takes a round for each state would not come to an end here."""
    n = 200_000
    state = np.arange(n)
    chain = from_rows(
        np.append(np.arange(n + 1), n),
        np.arange(n + 1),
        state + 1,
        np.ones(n),
        pair_reward=np.ones(n),
    )
    found = summarise(chain)
    assert found.every_policy_ends and found.components == n and found.largest_component == 1


def test_a_random_model_is_one_component(tmp_path):
    model = garnet(5000, 3, 4, 0, 0.01)
    found = summarise(model)
    assert found.largest_component > 4900 and found.some_policy_ends
    save(model, tmp_path / "g.npz")
    assert str(summarise(load(tmp_path / "g.npz"))).splitlines()[1:10] == str(found).splitlines()[1:10]
