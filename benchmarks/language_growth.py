"""How many tokens a second a decoder writes as it and what it writes grow, beside the floor of a matrix product.

    python benchmarks/language_growth.py

From a decoder of 4 layers of 256 with 1,024 tokens, 16 texts of 16 + 48, one number grows at a time. A token costs two
floating-point operations for each weight and for each number of the cache that it attends to; the floor is how many
tokens these would take at the rate that a product of two square matrices reaches, which is measured beside each. All by
CPU time, the median of three.

The table goes to docs/language-growth.md.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from measure import ROOT, commit, processor

from retorno import language
from retorno.networks import Activation

PAGE = ROOT / "docs" / "language-growth.md"
PROMPT, SIDE, TIMES = 16, 2048, 3
SMALL = language.Architecture(
    vocabulary=1024, width=256, layers=4, num_heads=4, key_heads=4, head_width=64, hidden=1024, longest=2048,
    rotary=None, activation=Activation.gelu, tied=True,
    projection_bias=True, out_bias=True, forward_bias=True, begin=0, ends=(),
)  # fmt: skip


class Work(NamedTuple):
    """What is written."""

    model: language.Architecture = SMALL
    texts: int = 16
    tokens: int = 48

    @property
    def operations(self) -> float:
        """For each token."""
        one = self.model
        weights = one.layers * one.width * (4 * one.width + 2 * one.hidden) + one.width * one.vocabulary
        attended = 2 * one.layers * one.width * (PROMPT + self.tokens / 2)
        return 2 * (weights + attended)


GROWN: dict[str, dict[str, Work]] = {
    "texts side by side": {f"{n}": Work(texts=n) for n in (1, 4, 16, 64, 256)},
    "tokens of an answer": {f"{n:,}": Work(tokens=n) for n in (48, 240, 1008)},
    "words of the vocabulary": {f"{n:,}": Work(replace(SMALL, vocabulary=n)) for n in (1024, 8192, 49152, 151936)},
    "layers": {f"{n}": Work(replace(SMALL, layers=n)) for n in (2, 4, 8, 16)},
}


def seconds(work: Callable[[], Any]) -> float:
    """Of CPU time, the median."""
    work()  # It compiles.
    spent = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def written(work: Work) -> float:
    """Tokens a second."""
    model = language.new(work.model)
    prompts = [[(7 * i + 11 * j) % 1000 + 5 for j in range(PROMPT)] for i in range(work.texts)]
    spent = seconds(lambda: language.generate(model, prompts, work.tokens))
    return work.texts * work.tokens / spent


def operations() -> float:
    """Floating-point operations a second of a matrix product."""
    square = jnp.ones((SIDE, SIDE))
    product = jax.jit(jnp.matmul)
    return 2 * SIDE**3 / seconds(lambda: product(square, square).block_until_ready())


def main() -> None:
    head = (__doc__ or "").split("\n\n")
    lines = ["# How fast language models write as they grow", "", head[2], ""]
    lines += ["| what grows | to | tokens a second | the floor | of it |", "|---|---|---|---|---|"]
    for what, grown in GROWN.items():
        for to, work in grown.items():
            reached, floor = written(work), operations() / work.operations
            lines.append(f"| {what} | {to} | {reached:,.0f} | {floor:,.0f} | {reached / floor:.2f} |")
            print(lines[-1], flush=True)
            jax.clear_caches()
    PAGE.write_text(
        "\n".join(
            [
                *lines,
                "",
                f"`python benchmarks/language_growth.py`; {processor()}, {os.cpu_count()} cores; commit {commit()}.",
                "",
            ]
        )
    )


if __name__ == "__main__":
    main()
