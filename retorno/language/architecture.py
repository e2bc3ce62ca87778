"""What a decoder is made of: read from a model folder's config.json in all its spellings, and written there again.

Two families cover the models that are in use. GPT-2 (Radford et al. 2019) has layer norms, learned positions and
biases; Llama (Touvron et al. 2023) root mean squares, rotary positions, gated layers and keys shared by groups of
queries. Qwen 2 adds biases to queries, keys and values, Qwen 3 a norm of each head. Both are `networks.transformer`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retorno.core.errors import RetornoError
from retorno.networks.initialisation import Draws
from retorno.networks.layers import Activation, Embedding, Norm, Rows
from retorno.networks.rotary import ByWavelength, Interpolated, Rotary, Stretch, YaRN
from retorno.networks.transformer import Block, Causal


class ModelError(RetornoError):
    """A language model that cannot be read, written or used: the message says what to do."""


ACTIVATIONS = {
    "silu": Activation.silu,
    "swish": Activation.silu,
    "gelu_new": Activation.gelu,
    "gelu_pytorch_tanh": Activation.gelu,
    "relu": Activation.relu,
}
"""By the names that model folders give them, the one to write first."""


@dataclass(frozen=True)
class Architecture:
    """A decoder of the Llama family; without `rotary`, of GPT-2's."""

    vocabulary: int
    """How many tokens the embedding has a row for."""
    width: int
    layers: int
    num_heads: int
    key_heads: int
    head_width: int
    hidden: int
    """Units inside of a feed-forward layer."""
    longest: int
    """Positions of the longest text that it was made for."""
    epsilon: float = 1e-6
    activation: Activation = Activation.silu
    rotary: Rotary | None = field(default_factory=Rotary)
    tied: bool = False
    """Whether the last layer is the embedding, transposed."""
    projection_bias: bool = False
    """Of queries, keys and values."""
    out_bias: bool = False
    """Of what attention gives."""
    forward_bias: bool = False
    """Of the feed-forward layers."""
    head_norms: bool = False
    """Whether each head's query and key are normalised."""
    begin: int | None = None
    """The token that stands before a text, where there is one."""
    ends: tuple[int, ...] = ()
    """The tokens that end one."""

    def __post_init__(self) -> None:
        if self.num_heads % self.key_heads or min(self.width, self.layers, self.hidden, self.vocabulary) < 1:
            raise ModelError(
                f"no decoder has {self.num_heads} heads over {self.key_heads} keys, {self.layers} layers, width "
                f"{self.width}, {self.hidden} hidden units and {self.vocabulary} tokens"
            )

    def trunk(self, draws: Draws, window: int, rematerialise: bool = False, deviation: float = 0.02) -> Causal:
        """A new trunk: weights normal with that deviation, those into the residual stream over √(2 layers).

        Radford et al. 2019, section 2.3, where it is .02.
        """

        def matrix(outputs: int, inputs: int, bias: bool, deviation: float = deviation) -> Rows:
            zeros = draws.constant((outputs,), 0.0) if bias else None
            return Rows(draws.normal((outputs, inputs), deviation), zeros)

        def norm(width: int) -> Norm:
            zeros = draws.constant((width,), 0.0) if self.rotary is None else None
            return Norm(draws.constant((width,), 1.0), zeros, self.epsilon)

        def block() -> Block:
            residual = deviation / math.sqrt(2 * self.layers)
            inner = self.num_heads * self.head_width
            return Block(
                attention_norm=norm(self.width),
                query_key_value=matrix(inner + 2 * self.key_heads * self.head_width, self.width, self.projection_bias),
                out=matrix(self.width, inner, self.out_bias, residual),
                forward_norm=norm(self.width),
                up=matrix(self.hidden * (1 if self.rotary is None else 2), self.width, self.forward_bias),
                down=matrix(self.width, self.hidden, self.forward_bias, residual),
                num_heads=self.num_heads,
                key_heads=self.key_heads,
                head_width=self.head_width,
                activation=self.activation,
                gated=self.rotary is not None,
                query_norm=norm(self.head_width) if self.head_norms else None,
                key_norm=norm(self.head_width) if self.head_norms else None,
            )

        return Causal(
            input=Embedding(matrix(self.vocabulary, self.width, bias=False)),
            blocks=tuple(block() for _ in range(self.layers)),
            norm=norm(self.width),
            window=window,
            rematerialise=rematerialise,
            rotary=self.rotary,
            positions=matrix(self.longest, self.width, bias=False) if self.rotary is None else None,
        )


def read_config(config: Mapping[str, Any], where: str) -> Architecture:
    """The architecture that a config.json says.

    Raises:
        ModelError: when it is of another kind, lacks a size, or wants what is not computed here.

    Args:
        config: what the file holds.
        where: what it is called in messages.
    """
    kinds = {
        "GPT2LMHeadModel": _read_gpt2,
        "LlamaForCausalLM": _read_llama,
        "Qwen2ForCausalLM": _read_llama,
        "Qwen3ForCausalLM": _read_llama,
    }
    kind = (config.get("architectures") or [config.get("model_type")])[0]
    if kind not in kinds:
        raise ModelError(
            f"{where} holds a model of architecture {kind!r}: expected {', '.join(kinds)}. Others compute other things "
            "with their weights, and no code of a model folder is run: take a model of one of these"
        )
    if "quantization_config" in config:
        raise ModelError(f"{where} holds quantised weights: take the folder with those in float32, bfloat16 or float16")
    try:
        return kinds[kind](config, kind, where)
    except KeyError as error:
        raise ModelError(
            f"{where}: config.json says no {error}, which a {kind} needs: copy the whole folder"
        ) from error


def _read_gpt2(config: Mapping[str, Any], kind: str, where: str) -> Architecture:
    _require_usual(
        config, where, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
    )
    width, heads = config["n_embd"], config["n_head"]
    return Architecture(
        vocabulary=config["vocab_size"],
        width=width,
        layers=config["n_layer"],
        num_heads=heads,
        key_heads=heads,
        head_width=width // heads,
        hidden=config.get("n_inner") or 4 * width,
        longest=config.get("n_positions") or config["n_ctx"],
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        activation=_activation(config.get("activation_function", "gelu_new"), where),
        rotary=None,
        tied=config.get("tie_word_embeddings", True),
        projection_bias=True,
        out_bias=True,
        forward_bias=True,
        begin=config.get("bos_token_id"),
        ends=end_tokens(config),
    )


def _read_llama(config: Mapping[str, Any], kind: str, where: str) -> Architecture:
    _require_usual(config, where, use_sliding_window=False, partial_rotary_factor=1.0)
    if "sliding_attention" in (config.get("layer_types") or ()):
        raise ModelError(f"{where}: layers that see a sliding part of the text are not computed here")
    heads, longest = config["num_attention_heads"], config["max_position_embeddings"]
    bias = config.get("attention_bias", False)
    return Architecture(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        num_heads=heads,
        key_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        hidden=config["intermediate_size"],
        longest=longest,
        epsilon=config.get("rms_norm_eps", 1e-6),
        activation=_activation(config.get("hidden_act", "silu"), where),
        rotary=_read_rotary(config, longest, where),
        tied=config.get("tie_word_embeddings", False),
        projection_bias=bias or kind == "Qwen2ForCausalLM",
        out_bias=bias,
        forward_bias=config.get("mlp_bias", False),
        head_norms=kind == "Qwen3ForCausalLM",
        begin=config.get("bos_token_id"),
        ends=end_tokens(config),
    )


def _read_rotary(config: Mapping[str, Any], longest: int, where: str) -> Rotary:
    """New folders say `rope_parameters`, old ones `rope_theta` and `rope_scaling`."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    _require_usual(said, where, partial_rotary_factor=1.0, truncate=True, mscale=None, mscale_all_dim=None)
    base = float(said.get("rope_theta", config.get("rope_theta", 10_000.0)))
    trained = said.get("original_max_position_embeddings") or longest
    stretch: Stretch | None
    match said.get("rope_type", said.get("type", "default")):
        case "default":
            stretch = None
        case "linear":
            stretch = Interpolated(said["factor"])
        case "llama3":
            stretch = ByWavelength(said["factor"], trained, said["low_freq_factor"], said["high_freq_factor"])
        case "yarn":
            fast, slow = said.get("beta_fast") or 32.0, said.get("beta_slow") or 1.0
            stretch = YaRN(said.get("factor") or longest / trained, trained, slow, fast, said.get("attention_factor"))
        case other:
            raise ModelError(f"{where}: rotary positions of type {other!r}; expected default, linear, llama3 or yarn")
    return Rotary(base, stretch)


def _activation(name: str, where: str) -> Activation:
    if name not in ACTIVATIONS:
        raise ModelError(f"{where}: activation {name!r}; expected {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def end_tokens(config: Mapping[str, Any]) -> tuple[int, ...]:
    """One token or a list of them."""
    ends = config.get("eos_token_id")
    return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)


def _require_usual(config: Mapping[str, Any], where: str, **usual: Any) -> None:
    for name, value in usual.items():
        if (given := config.get(name, value)) not in (value, None):
            raise ModelError(f"{where}: {name} is {given!r}; only {value!r} is computed here")


def write_config(architecture: Architecture, dtype: str) -> dict[str, Any]:
    """A config.json that `transformers` and `read_config` understand."""
    a = architecture
    activation = next(name for name, activation in ACTIVATIONS.items() if activation is a.activation)
    shared = {
        "vocab_size": a.vocabulary,
        "tie_word_embeddings": a.tied,
        "bos_token_id": a.begin,
        "eos_token_id": a.ends[0] if len(a.ends) == 1 else list(a.ends) or None,
        "dtype": dtype,
    }
    if a.rotary is None:
        return shared | {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_embd": a.width,
            "n_head": a.num_heads,
            "n_layer": a.layers,
            "n_inner": a.hidden,
            "n_positions": a.longest,
            "layer_norm_epsilon": a.epsilon,
            "activation_function": activation,
        }
    kind = "Qwen3" if a.head_norms else "Qwen2" if a.projection_bias and not a.out_bias else "Llama"
    rotary = _write_rotary(a.rotary)
    return shared | {
        "architectures": [f"{kind}ForCausalLM"],
        "model_type": kind.lower(),
        "hidden_size": a.width,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.key_heads,
        "num_hidden_layers": a.layers,
        "intermediate_size": a.hidden,
        "head_dim": a.head_width,
        "max_position_embeddings": a.longest,
        "rms_norm_eps": a.epsilon,
        "hidden_act": activation,
        "attention_bias": a.out_bias,
        "mlp_bias": a.forward_bias,
        "rope_parameters": rotary,
        # As folders said it before; each reads what it knows.
        "rope_theta": a.rotary.base,
        "rope_scaling": rotary if a.rotary.stretch else None,
    }


def _write_rotary(rotary: Rotary) -> dict[str, Any]:
    match rotary.stretch:
        case Interpolated(factor):
            said = {"rope_type": "linear", "factor": factor}
        case ByWavelength(factor, trained, slow, fast):
            said = {
                "rope_type": "llama3",
                "factor": factor,
                "original_max_position_embeddings": trained,
                "low_freq_factor": slow,
                "high_freq_factor": fast,
            }
        case YaRN(factor, trained, slow, fast, sharpness):
            said = {
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": trained,
                "beta_slow": slow,
                "beta_fast": fast,
                "attention_factor": sharpness,
            }
        case _:
            said = {"rope_type": "default"}
    return {"rope_theta": rotary.base, **said}
