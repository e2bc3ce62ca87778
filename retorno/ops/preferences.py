"""What rankings and ratings say of scores: how likely it is that somebody prefers so, or rates so.

Ranks count from 0, the best; answers of equal rank tie, which says nothing of the two; one of rank −1 was not ranked.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from retorno.core.scalar import Scalar


def preferred(rank: Int[Array, " K"]) -> Bool[Array, "K K"]:
    """Which pairs of answers were told apart: [i, j] where i was preferred to j.

    Args:
        rank: of each answer; −1 where it was not ranked. Shape [K].

    Returns:
        Shape [K, K].

    >>> preferred(jnp.array([1, 0, 1, -1])).astype(int)
    Array([[0, 0, 0, 0],
           [1, 0, 1, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0]], dtype=int32)
    """
    ranked = rank >= 0
    return (rank[:, None] < rank[None, :]) & ranked[:, None] & ranked[None, :]


def ranks(worth: Float[Array, " K"]) -> Int[Array, " K"]:
    """The ranks of numbers, the more the better; of what is NaN nothing is said.

    Args:
        worth: of each answer. Shape [K].

    Returns:
        0 the best, equal ones tie, −1 was not ranked. Shape [K].

    >>> ranks(jnp.array([1.0, 2.0, jnp.nan, 1.0])).tolist()
    [1, 0, -1, 1]
    """
    return jnp.where(jnp.isnan(worth), -1, (worth[None, :] > worth[:, None]).sum(axis=1))


def bradley_terry(score: Float[Array, " K"], rank: Int[Array, " K"], mistakes: Scalar = 0.0) -> Float[Array, ""]:
    r"""How unlikely a ranking is, by all pairs that it tells apart (Bradley & Terry 1952).

    .. math:: L = -\frac{1}{|P|} \sum_{(i, j) \in P} \log \left( (1 - \epsilon) \sigma(r_i - r_j)
              + \tfrac{\epsilon}{2} \right)

    All pairs of one prompt are one element of a batch (Ouyang et al. 2022, eq. 1), so that an answer counts once, not
    K − 1 times. With ε > 0 somebody errs sometimes (Christiano et al. 2017, section 2.2.3: ε = .1).

    Args:
        score: r, of each answer. Shape [K].
        rank: of each answer: 0 the best, equal ones tie, −1 was not ranked. Shape [K].
        mistakes: ε, the share of choices that are made blindly. Shape [].

    Returns:
        L, 0 where no pair is told apart. Shape [].

    >>> bradley_terry(jnp.array([2.0, 0.0]), jnp.array([0, 1]))
    Array(0.126928, dtype=float32)
    """
    pairs = preferred(rank)
    apart = score[:, None] - score[None, :]
    sure = jax.nn.log_sigmoid(apart)
    # With ε = 0 this is log σ itself, also where σ rounds to 0.
    log_prob = jnp.logaddexp(jnp.log1p(-mistakes) + sure, jnp.log(mistakes / 2))
    return -jnp.sum(jnp.where(pairs, log_prob, 0.0)) / jnp.maximum(pairs.sum(), 1)


def comparison(score: Float[Array, " 2"], share: Float[Array, ""], mistakes: Scalar = 0.0) -> Float[Array, ""]:
    r"""How unlikely it is what somebody said of two, who may find them alike (Christiano et al. 2017, eq. 1, 2).

    .. math:: L = -\mu \log P(1 \succ 2) - (1 - \mu) \log P(2 \succ 1), \quad
              P(1 \succ 2) = (1 - \epsilon) \sigma(r_1 - r_2) + \tfrac{\epsilon}{2}

    Args:
        score: r, of both: of a segment the sum of its rewards. Shape [2].
        share: μ, how much of the preference went to the first: 1, ½ where both are alike, 0. Shape [].
        mistakes: ε, the share of choices that are made blindly. Shape [].

    Returns:
        L. Shape [].

    >>> comparison(jnp.array([2.0, 0.0]), jnp.float32(1))
    Array(0.126928, dtype=float32)
    >>> comparison(jnp.zeros(2), jnp.float32(0.5)) - jnp.log(2.0)
    Array(0., dtype=float32)
    """
    both = jnp.stack([score[0] - score[1], score[1] - score[0]])
    log_prob = jnp.logaddexp(jnp.log1p(-mistakes) + jax.nn.log_sigmoid(both), jnp.log(mistakes / 2))
    return -(share * log_prob[0] + (1 - share) * log_prob[1])


def plackett_luce(score: Float[Array, " K"], rank: Int[Array, " K"], mistakes: Scalar = 0.0) -> Float[Array, ""]:
    r"""How unlikely a ranking is, chosen from the best one down (Luce 1959; Plackett 1975).

    .. math:: L = -\frac{1}{m} \sum_{i\ \text{preferred to some}} \log \left( (1 - \epsilon)
              \frac{e^{r_i}}{\sum_{j \in C_i} e^{r_j}} + \frac{\epsilon}{|C_i|} \right), \quad
              C_i = \{i\} \cup \{j\ \text{worse than}\ i\}

    Of answers that tie, each is chosen before all that are worse, and the two are not compared; m is how many are
    preferred to some. With ε > 0 somebody errs sometimes; of two that is `comparison` (Christiano et al. 2017).

    Args:
        score: r, of each answer. Shape [K].
        rank: of each answer: 0 the best, equal ones tie, −1 was not ranked. Shape [K].
        mistakes: ε, the share of choices that are made blindly. Shape [].

    Returns:
        L, 0 where no pair is told apart. Shape [].

    >>> plackett_luce(jnp.zeros(3), jnp.array([2, 0, 1])) * 2 - jnp.log(6.0)
    Array(0., dtype=float32)
    """
    pairs = preferred(rank)
    against = pairs | jnp.eye(len(rank), dtype=bool)
    total = jax.nn.logsumexp(jnp.where(against, score[None, :], -jnp.inf), axis=1)
    log_prob = jnp.logaddexp(jnp.log1p(-mistakes) + score - total, jnp.log(mistakes / against.sum(axis=1)))
    chooses = pairs.any(axis=1)
    return -jnp.sum(jnp.where(chooses, log_prob, 0.0)) / jnp.maximum(chooses.sum(), 1)


def ordered_logistic(
    score: Float[Array, ""], cuts: Float[Array, " C"], level: Int[Array, ""], mistakes: Scalar = 0.0
) -> Float[Array, ""]:
    r"""How unlikely a rating is, one of C + 1 levels between which cuts stand (McCullagh 1980: proportional odds).

    .. math:: L = -\log \left( (1 - \epsilon) \left( \sigma(c_{k + 1} - s) - \sigma(c_k - s) \right)
              + \tfrac{\epsilon}{C + 1} \right), \quad c_0 = -\infty, \quad c_{C + 1} = \infty

    No number is taken to lie behind a level, nor levels to be equally wide: only that they are in order. Of two levels
    it is the logistic loss. With ε > 0 somebody errs sometimes.

    Args:
        score: s, of what was rated: of a segment the sum of its rewards. Shape [].
        cuts: c, where one level ends and the next begins, in increasing order. Shape [C].
        level: k, from 0, the worst, to C. Shape [].
        mistakes: ε, the share of ratings that are made blindly. Shape [].

    Returns:
        L. Shape [].

    >>> ordered_logistic(jnp.float32(2), jnp.array([0.0]), jnp.int32(1))
    Array(0.126928, dtype=float32)
    >>> ordered_logistic(jnp.float32(0), jnp.array([-jnp.log(2.0), jnp.log(2.0)]), jnp.int32(1)) - jnp.log(3.0)
    Array(0., dtype=float32)
    """
    low = jnp.append(-jnp.inf, cuts)[level]
    high = jnp.append(cuts, jnp.inf)[level]
    # σ(b) − σ(a) = σ(b) σ(−a) (1 − e^{a − b}), also where both round to 1.
    sure = jax.nn.log_sigmoid(high - score) + jax.nn.log_sigmoid(score - low) + jnp.log1p(-jnp.exp(low - high))
    return -jnp.logaddexp(jnp.log1p(-mistakes) + sure, jnp.log(mistakes / (len(cuts) + 1)))


def told_apart(score: Float[Array, " K"], rank: Int[Array, " K"]) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Of how many pairs of a ranking the scores say the same; equal scores say it by half.

    Args:
        score: of each answer. Shape [K].
        rank: of each answer: 0 the best, equal ones tie, −1 was not ranked. Shape [K].

    Returns:
        How many they say alike, and of how many. Shapes [].

    >>> told_apart(jnp.array([3.0, 1.0, 1.0]), jnp.array([0, 1, 2]))
    (Array(2.5, dtype=float32), Array(3, dtype=int32))
    """
    pairs = preferred(rank)
    apart = score[:, None] - score[None, :]
    return jnp.sum(jnp.where(pairs, (1 + jnp.sign(apart)) / 2, 0.0)), pairs.sum()


def identity_preference(margin: Float[Array, ""], temperature: Scalar) -> Float[Array, ""]:
    r"""How far a margin is from the one at which a preference is met (Azar et al. 2024, eq. 17: IPO).

    .. math:: L = \left( h - \frac{1}{2 \tau} \right)^2

    Args:
        margin: h, by how much the preferred answer's log ratio is the larger one. Shape [].
        temperature: τ. Shape [].

    Returns:
        L. Shape [].

    >>> identity_preference(jnp.float32(5), 0.1)
    Array(0., dtype=float32)
    """
    return jnp.square(margin - 1 / (2 * temperature))


def disagreement(chance: Float[Array, " M"]) -> Float[Array, ""]:
    r"""How little several models agree on which of two is better (Christiano et al. 2017, section 2.2.4).

    .. math:: \frac{1}{M} \sum_m \left( p_m - \bar p \right)^2

    Args:
        chance: p, that the first is preferred, by each model. Shape [M].

    Returns:
        Shape [].

    >>> disagreement(jnp.array([0.0, 1.0])), disagreement(jnp.array([0.5, 0.5]))
    (Array(0.25, dtype=float32), Array(0., dtype=float32))
    """
    return jnp.var(chance)


def information_gain(chance: Float[Array, " M"]) -> Float[Array, ""]:
    r"""How much the answer would tell of which model is right, in nats (Houlsby et al. 2011; Bıyık et al. 2019).

    .. math:: H(\bar p) - \frac{1}{M} \sum_m H(p_m), \quad H(p) = -p \log p - (1 - p) \log (1 - p)

    Of what all models find as likely as not nothing is to be learnt, however uncertain the answer is.

    Args:
        chance: p, that the first is preferred, by each model. Shape [M].

    Returns:
        Shape [].

    >>> information_gain(jnp.array([0.0, 1.0])) - jnp.log(2.0), information_gain(jnp.array([0.5, 0.5]))
    (Array(0., dtype=float32), Array(0., dtype=float32))
    """
    entropy = lambda p: jax.scipy.special.entr(p) + jax.scipy.special.entr(1 - p)  # noqa: E731
    return entropy(chance.mean()) - entropy(chance).mean()
