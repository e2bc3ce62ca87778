"""Blackjack with its exact model. Sutton & Barto 2018, example 5.1; Gymnasium's `Blackjack-v1` plays the same game."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from retorno.core.mdp import MDP, MapKey, mdp

DECK = {card: 1 / 13 for card in range(1, 10)} | {10: 4 / 13}
"""Values and their probabilities; cards are put back. 1 is the ace."""
CARD_NAMES = ("A", *(str(card) for card in range(2, 11)))
STAND = 17
"""The dealer draws below it."""


@dataclass(frozen=True)
class Rules:
    """What a natural, an ace and a ten in the first two cards, is worth to the player."""

    wins: bool = True
    """It beats every hand of the dealer but another natural; else it is an ordinary 21."""
    pays: float = 1.0
    """The reward for winning with it."""


SUTTON_BARTO = Rules()
"""The book's, and Gymnasium's as it is registered (`sab=True`): optimal value −0.043113."""
PLAIN = Rules(wins=False)
"""Gymnasium's `sab=False`: −0.046556."""
CASINO = Rules(pays=1.5)
"""A natural pays 3 to 2: −0.020565."""
LEGACY = Rules(wins=False, pays=1.5)
"""Gymnasium's `sab=False, natural=True`: a natural pays 3 to 2, but draws against any 21: −0.025729."""

Hand = tuple[int, bool]
"""(sum, whether an ace in it counts 11)."""


def blackjack(rules: Rules = SUTTON_BARTO) -> MDP:
    """States are "sum, soft or hard, the dealer's card" and a natural; actions are `stick` and `hit`.

    The player's first two cards are dealt, so sums from 4 on occur. A draw pays 0. `grid` shows hard
    hands left and soft ones right, sums upward and the dealer's cards from the ace on, as figure 5.2
    does; naturals lie above them.

    >>> from retorno.bellman import solve
    >>> round(solve(blackjack(), 1.0).start_value, 4)
    -0.0431
    """
    transitions, place = {}, {}
    for shown in DECK:
        finals = _dealers(shown)
        dealer_natural = {1: DECK[10], 10: DECK[1]}.get(shown, 0.0)
        for hand in [(total, False) for total in range(4, 22)] + [(total, True) for total in range(12, 22)]:
            transitions[_name(hand, shown)] = {
                "stick": _compared(hand[0], finals),
                "hit": [
                    (p, "end", -1.0) if drawn[0] > 21 else (p, _name(drawn, shown), 0.0)
                    for card, p in DECK.items()
                    for drawn in [_with(hand, card)]
                ],
            }
            place[_name(hand, shown)] = (22 - hand[0], shown - 1 + 11 * hand[1])
        beaten = 1 - dealer_natural if rules.wins else 1 - finals[21]
        transitions[f"natural, {shown}"] = {
            "stick": [(beaten, "end", rules.pays), (1 - beaten, "end", 0.0)],
            "hit": transitions[_name((21, True), shown)]["hit"],
        }
        place[f"natural, {shown}"] = (0, shown - 1 + 11)
    start: defaultdict[str, float] = defaultdict(float)
    for shown, chance in DECK.items():
        for first, p in DECK.items():
            for second, q in DECK.items():
                hand = _with(_with((0, False), first), second)
                name = f"natural, {shown}" if hand == (21, True) else _name(hand, shown)
                start[name] += chance * p * q
    key = MapKey(
        rows="player's sum",
        columns="dealer shows",
        row_names=("natural", *(str(total) for total in range(21, 3, -1))),
        column_names=(*CARD_NAMES, "", *CARD_NAMES),
        blocks=(("no usable ace", 0, 10), ("usable ace", 11, 21)),
    )
    return mdp(transitions, initial=start, grid=place, map_key=key)


def _with(hand: Hand, card: int) -> Hand:
    """The hand after one more card: an ace counts 11 where that does not bust, and 1 as soon as it would."""
    total, soft = hand[0] + card, hand[1]
    if card == 1 and total + 10 <= 21:
        return total + 10, True
    if total > 21 and soft:
        return total - 10, False
    return total, soft


def _dealers(shown: int) -> dict[int, float]:
    """How probable each final sum of the dealer is; 22 stands for all busts."""
    finals: dict[int, float] = defaultdict(float)
    hands: dict[Hand, float] = {_with((0, False), shown): 1.0}
    while hands:
        after: dict[Hand, float] = defaultdict(float)
        for hand, chance in hands.items():
            for card, p in DECK.items():
                drawn = _with(hand, card)
                if drawn[0] < STAND:
                    after[drawn] += chance * p
                else:
                    finals[min(drawn[0], 22)] += chance * p
        hands = after
    return finals


def _compared(total: int, finals: dict[int, float]) -> list[tuple[float, str, float]]:
    """Win, draw and loss of sticking at a sum."""
    chances = dict.fromkeys((1.0, 0.0, -1.0), 0.0)
    for final, p in finals.items():
        chances[1.0 if final > 21 or final < total else 0.0 if final == total else -1.0] += p
    return [(p, "end", reward) for reward, p in chances.items()]


def _name(hand: Hand, shown: int) -> str:
    return f"{hand[0]} {'soft' if hand[1] else 'hard'}, {shown}"
