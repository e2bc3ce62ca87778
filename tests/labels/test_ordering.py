"""What keys, taps and drags make of an order, without a page."""

from __future__ import annotations

import itertools
import random

from retorno.labels.ordering import Order


def test_answers_are_chosen_one_after_another() -> None:
    order = Order(4).choose(2).choose(0)
    assert order.ranks == [1, None, 0, None] and order.rest == [1, 3] and order.says_something
    assert order.choose(2).ranks == [0, None, None, None], "once more takes it out"
    assert not Order(4).choose(2).says_something


def test_ties() -> None:
    order = Order(4).choose(3).choose(1).choose(0)
    tied = order.tie()
    assert tied.ranks == [1, 1, None, 0] and tied.tie() == order, "once more takes it back"
    assert order.tie(1).ranks == [1, 0, None, 0] and order.tie(3) == order, "nothing is above the first"
    assert order.tie(2) == order and Order(4).choose(1).tie() == Order(4).choose(1)


def test_the_rest_is_worse_or_all_are_bad() -> None:
    assert Order(4).choose(2).rest_is_worse().ranks == [1, 1, 0, 1]
    assert Order(4).rest_is_worse() == Order(4)
    bad = Order(3).choose(1).bad()
    assert bad.ranks == [0, 0, 0] and bad.all_bad and bad.says_something
    assert bad.bad() == Order(3) and bad.choose(2).ranks == [None, None, 0] and not bad.choose(2).all_bad
    assert Order.of([0, 0, 0], all_bad=True) == bad


def test_a_drag_puts_it_there() -> None:
    """Against a list: where it is dropped it stands, all others as they stood; it ties only inside a tie."""
    rng = random.Random(0)
    for _ in range(300):
        ranks = [rng.choice([0, 1, 2, None]) for _ in range(6)]
        order = Order.of(ranks)
        answer = rng.randrange(6)
        others = [each for each in order.ranked if each != answer]
        place = rng.randint(0, len(others))
        dropped = order.drop(answer, place)
        assert dropped.ranked == [*others[:place], answer, *others[place:]]
        before, after = order.ranks, dropped.ranks
        for a, b in itertools.combinations(others, 2):
            assert (before[a] < before[b], before[a] == before[b]) == (after[a] < after[b], after[a] == after[b])
        between = [before[each] for each in others[max(0, place - 1) : place + 1]]
        ties = [each for each in others if after[each] == after[answer]]
        assert bool(ties) == (len(between) == 2 and between[0] == between[1])
        assert Order.of(dropped.ranks).ranks == dropped.ranks
        assert order.drop(answer, None).rest == sorted({*order.rest, answer})
