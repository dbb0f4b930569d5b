"""Explicit files of PRISM and Storm: both dialects, both ways, and every defect with its line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import mdps
from mdps import families
from mdps.formats import load_model, read_labels, read_prism, to_prism
from verify.strategies import tabular_mdps

PRISM = "3 4 6\n0 0 1 0.5 go\n0 0 2 0.5 go\n0 1 0 1 stay\n1 0 1 1/3\n1 0 2 2/3\n2 0 2 1\n"
STORM = "mdp\n0 0 1 0.5\n0 0 2 0.5\n0 1 0 1\n1 0 1 0.3333333333333333\n1 0 2 0.6666666666666666\n2 0 2 1\n"


@pytest.fixture
def write(tmp_path):
    def put(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return put


@pytest.mark.parametrize("text", [PRISM, STORM, "# a comment\n\n" + STORM])
def test_reads_both_dialects(write, text):
    mdp = read_prism(write("m.tra", text))
    assert (mdp.n_states, mdp.n_actions) == (3, 2)
    assert mdp.action_mask.tolist() == [[True, True], [True, False], [True, False]]
    assert mdp.dense()[0].tolist() == [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]
    assert mdp.dense()[1, 0] == pytest.approx([0.0, 1 / 3, 2 / 3])


def test_chains(write):
    for text in ("2 3\n0 0 0.5\n0 1 0.5\n1 1 1\n", "dtmc\n0 0 0.5\n0 1 0.5\n1 1 1\n"):
        mdp = read_prism(write("c.tra", text), rewards=write("c.trew", "2 1\n0 1 4\n"))
        assert (mdp.n_actions, mdp.action_mask) == (1, None)
        assert mdp.expected_reward.ravel().tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ({"m.srew": "3 2\n0 1.5\n2 -1\n"}, [[1.5, 1.5], [0.0, 0.0], [-1.0, 0.0]]),
        ({"m.state.rew": "0 1.5\n2 -1\n"}, [[1.5, 1.5], [0.0, 0.0], [-1.0, 0.0]]),
        ({"m.trew": "3 4 2\n0 0 1 4\n0 1 0 1\n"}, [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
        ({"m.trans.rew": "0 0 1 4\n0 1 0 1\n"}, [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
        ({"m.rew": "0 1\n", "m.trew": "3 4 1\n0 0 2 2\n"}, [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
        ({"m.srew": "3 0\n"}, [[0.0, 0.0]] * 3),
        ({"m.srew": ""}, [[0.0, 0.0]] * 3),
    ],
)
def test_rewards_of_states_and_transitions(write, rewards, expected):
    source = write("m.tra", PRISM)
    for name, text in rewards.items():
        write(name, text)
    assert load_model(source).expected_reward.tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        '0="init" 1="deadlock" 2="goal"\n0: 0\n1: 0 2\n2: 2\n',
        "#DECLARATION\ninit deadlock goal\n#END\n0 init\n1 init goal\n2 goal\n",
    ],
)
def test_labels(write, text):
    labels = write("m.lab", text)
    assert {name: states.tolist() for name, states in read_labels(labels).items()} == {"init": [0, 1], "deadlock": [], "goal": [1, 2]}
    mdp = read_prism(write("m.tra", PRISM), labels=labels, terminal="goal", discount=0.9)
    assert mdp.initial.tolist() == [0.5, 0.5, 0.0]
    assert mdp.terminal.tolist() == [False, True, True]
    with pytest.raises(mdps.ModelError, match="terminal must be one of"):
        read_prism(write("m.tra", PRISM), labels=labels, terminal="nowhere")


@settings(max_examples=15)
@given(tabular_mdps(masked=True, discount=None))
def test_round_trip(tmp_path_factory, mdp):
    for dialect in ("prism", "storm"):
        prefix = tmp_path_factory.mktemp("explicit") / "model"
        paths = to_prism(mdp, prefix, dialect=dialect)
        back = load_model(paths[0])
        assert back.n_states == mdp.n_states
        # choices are numbered among those that exist
        mask = np.ones((mdp.n_states, mdp.n_actions), dtype=bool) if mdp.action_mask is None else mdp.action_mask
        for s in range(mdp.n_states):
            kept = np.flatnonzero(mask[s])
            assert back.dense()[s, : kept.size].tolist() == mdp.dense()[s, kept].tolist()
            assert back.expected_reward[s, : kept.size] == pytest.approx(mdp.expected_reward[s, kept], rel=1e-15)


def test_initial_distribution_travels(tmp_path):
    grid = families.gridworld(3)
    paths = to_prism(grid, tmp_path / "grid")
    assert [p.name for p in paths] == ["grid.tra", "grid.trew", "grid.lab"]
    assert load_model(paths[0], discount=0.9).initial.tolist() == grid.initial.tolist()
    with pytest.raises(mdps.ModelError, match="uniform"):
        to_prism(mdps.TabularMDP(np.eye(2)[:, None, :], np.zeros((2, 1)), initial=[0.3, 0.7]), tmp_path / "x")
    with pytest.raises(mdps.ModelError, match="dialect"):
        to_prism(grid, tmp_path / "x", dialect="jani")
    with pytest.raises(OSError, match="cannot be written"):
        to_prism(grid, tmp_path / "missing" / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.lab", "grid.tra", "grid.trew"]


def test_rows_printed_with_few_digits(write):
    source = write("m.tra", "1 1 3\n0 0 0 0.333333\n".replace("1 1 3", "3 3 5") + "0 0 1 0.333333\n0 0 2 0.333333\n1 0 1 1\n2 0 2 1\n")
    with pytest.raises(mdps.BrokenFile, match="sums to 0.99999"):
        read_prism(source)
    assert read_prism(source, row_tolerance=1e-5).dense()[0, 0] == pytest.approx([1 / 3] * 3, rel=1e-15)


BROKEN = [
    ("", "line 1: must start with"),
    ("jani\n", "line 1: must start with"),
    ("0 0 0\n", "line 1: must have at least one state"),
    ("3 4 6\n", "line 1: must|has no transitions"),
    ("mdp\n0 0 1\n", "line 2: must have 4 columns"),
    ("mdp\n0 0 0 1\n0 0 0 1 a b\n", "line 3: must have 4 columns"),
    ("mdp\n-1 0 0 1\n", "line 2: state must be a whole number"),
    ("mdp\n0 x 0 1\n", "line 2: choice must be a whole number"),
    ("mdp\n0 0 1e3 1\n", "line 2: successor must be a whole number"),
    ("mdp\n0 0 99999999999999999999 1\n", "line 2: successor must be a whole number"),
    ("mdp\n0 0 0 one\n", "line 2: probability must be a number"),
    ("mdp\n0 0 0 1/0\n", "line 2: probability must be a number"),
    ("mdp\n0 0 0 nan\n", "line 2: probability must be in"),
    ("mdp\n0 0 0 -0.5\n", "line 2: probability must be in"),
    ("mdp\n0 0 0 1.5\n", "line 2: probability must be in"),
    ("mdp\n0 0 0 0.5\n0 0 0 0.5\n", "line 3: gives the same transition a second time"),
    ("mdp\n0 0 0 0.5\n", "state 0, action 0 sums to 0.5"),
    ("mdp\n0 1 0 1\n", "line 2: has choice 1 in state 0 without choice 0"),
    ("mdp\n0 0 0 1\n0 2 0 1\n", "line 3: has choice 2 in state 0 without choice 1"),
    ("mdp\n0 0 0 1\n0 1 2 1\n2 0 2 1\n", "state 1 no transition"),
    ("mdp\n0 0 9000000000 1\n", "some state has no way out"),
    ("2 2 2\n0 0 0 1\n", "announces 2 transitions and has 1"),
    ("1 2 1\n0 0 0 1\n", "announces 2 choices and has 1"),
    ("1 1 1\n0 0 1 1\n", "line 2: names successor 1"),
    ("999999999999 1 1\n0 0 0 1\n", "some state has no way out"),
    ("mdp\n0 0 0 \xe9\n", "not a text file|ASCII"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_transitions(tmp_path, text, message):
    path = tmp_path / "broken.tra"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(mdps.BrokenFile, match=message) as caught:
        read_prism(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.srew", "3 1\n0\n", "line 2: must have the 2 to 4"),
        ("m.srew", "3 1\n7 1\n", "line 2: names state 7"),
        ("m.srew", "3 1\n0 inf\n", "line 2: reward must be finite"),
        ("m.trew", "3 4 1\n0 0 0 1\n", "line 2: rewards the transition 0 0 0"),
        ("m.trew", "3 4 1\n0 9 1 1\n", "line 2: rewards the transition 0 9 1"),
        ("m.trew", "3 4 1\n0 0 1 1\n0 1\n", "line 3: must have the 4 columns"),
        ("m.trew", "1 2 3 4 5\n", "line 1: must have"),
        ("m.lab", "0 init\n", "must start with labels"),
        ("m.lab", "#DECLARATION\ninit\n", "has no #END"),
        ("m.lab", "#DECLARATION\ninit\n#END\n0 goal\n", "line 4: label 'goal' was not declared"),
        ("m.lab", '0="init"\n0 0\n', "line 2: must be"),
        ("m.lab", '0="init"\n0: 3\n', "line 2: label number '3'"),
        ("m.lab", '0="init"\nx: 0\n', "line 2: state must be"),
        ("m.lab", '0="init"\n8: 0\n', "label 'init' names state 8"),
    ],
)
def test_broken_rewards_and_labels(write, name, text, message):
    source = write("m.tra", PRISM)
    write(name, text)
    with pytest.raises(mdps.BrokenFile, match=message):
        load_model(source)


def test_size_caps_and_missing_files(write, tmp_path):
    source = write("m.tra", PRISM)
    with pytest.raises(mdps.BrokenFile, match="max_bytes"):
        read_prism(source, max_bytes=10)
    with pytest.raises(mdps.BrokenFile, match="No such file"):
        read_prism(tmp_path / "none.tra")
    with pytest.raises(mdps.BrokenFile, match="not a file"):
        read_prism(tmp_path)
    with pytest.raises(mdps.ModelError, match="row_tolerance"):
        read_prism(source, row_tolerance=0.5)
    many = "mdp\n" + "".join(f"0 {c} 0 1\n" for c in range(1500)) + "".join(f"{s} 0 0 1\n" for s in range(1, 1500))
    with pytest.raises(mdps.BrokenFile, match="one state has 1500 choices"):
        read_prism(write("wide.tra", many))


@pytest.mark.parametrize("digits", ["0.333", "0.3333333333"])
def test_rewards_follow_the_renormalised_row(write, digits):
    tra = write("m.tra", "mdp\n" + "".join(f"0 0 {j} {digits}\n" for j in range(3)) + "1 0 1 1\n2 0 2 1\n")
    rew = write("m.trew", "".join(f"0 0 {j} 3\n" for j in range(3)))
    model = read_prism(tra, rewards=rew, row_tolerance=1e-2)
    assert model.expected_reward[:, 0] == pytest.approx([3.0, 0.0, 0.0], rel=1e-15)


def test_a_line_of_three_columns_rewards_no_choice_of_an_mdp(write):
    with pytest.raises(mdps.BrokenFile, match=r"line 1: must have 2 or 4 columns for rewards of an MDP, got 3"):
        read_prism(write("m.tra", PRISM), rewards=write("m.trew", "0 1 7\n"))
    with pytest.raises(mdps.BrokenFile, match=r"line 1: must have 2 or 3 columns for rewards of a chain, got 4"):
        read_prism(write("d.tra", "dtmc\n0 1 1\n1 1 1\n"), rewards=write("d.trew", "0 0 1 7\n"))


def test_digit_groups_are_no_numbers(write):
    with pytest.raises(mdps.BrokenFile, match="line 2: probability must be a number, got '0_1'"):
        read_prism(write("m.tra", "mdp\n0 0 0 0_1\n"))
