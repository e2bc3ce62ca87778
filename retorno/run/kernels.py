"""A compiled pass over what was lived, for `retorno.run.tally`. It imports Numba: import it where it is used."""

from __future__ import annotations

import numba


@numba.njit(nogil=True, cache=True)
def add(
    reward,
    last,
    counts,
    turns,
    error,
    going,
    by_episode,
    total,
    width,
    steps,
    episodes,
    open_return,
    open_length,
    open_sign,
    returns,
    lengths,
    ended,
    rewards,
    lived,
    errors,
):
    """In the order lived; the last arguments are the arrays of a `Tally`, which are changed."""
    lanes, updates, rows, num_envs = reward.shape
    for lane in range(lanes):
        for update in range(updates):
            over = False
            for t in range(rows):
                for env in range(num_envs):
                    at = (lane, update, t, env)
                    if not counts[at]:
                        continue
                    steps[lane] += 1
                    open_return[lane, env] += open_sign[lane, env] * reward[at]
                    open_length[lane, env] += 1
                    # Of an episode under way, the reward belongs to the point in which it will end.
                    place = episodes[lane] if by_episode else steps[lane] - 1
                    told = going[lane] and place < total
                    point = place // width
                    if told:
                        rewards[lane, point] += reward[at]
                        lived[lane, point] += 1
                    if turns.size and turns[at]:
                        open_sign[lane, env] *= -1
                    if last[at]:
                        over = True
                        episodes[lane] += 1
                        if told:
                            returns[lane, point] += open_return[lane, env]
                            lengths[lane, point] += open_length[lane, env]
                            ended[lane, point] += 1
                        open_return[lane, env], open_length[lane, env], open_sign[lane, env] = 0, 0, 1
            if error.size and going[lane]:
                # As it stands where a point ends.
                place = (episodes[lane] if by_episode else steps[lane]) - 1
                if (over or not by_episode) and 0 <= place < total:
                    errors[lane, place // width] = error[lane, update]
