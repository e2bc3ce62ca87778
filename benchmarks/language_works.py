"""The same work in retorno and in transformers, PyTorch or TRL; run by language.py, each with its own Python."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import serve

BATCH, PROMPT, TOKENS = 16, 16, 48
SMALL = os.environ.get("SMALL", "")
"""A model folder: 4 layers of 256."""
SMOLLM2 = os.environ.get("SMOLLM2", "")
"""A model folder: SmolLM2."""
TINY, OUT = os.environ.get("TINY", ""), os.environ.get("OUT", "")
"""A model folder: 4 layers of 128 with a tokenizer; and where TRL may write."""
LARGE = sys.argv[-1].endswith("_smollm2")
"""Whether SmolLM2 learns, whose upper layers alone are trained."""
LEARNT = SMOLLM2 if LARGE else TINY
"""Which model that is."""
STEPS, UPPER = 1 if LARGE else 10, 4
"""Of learning, in each measurement; and how many layers those are."""
ANSWERS = 16 if LARGE else 64
"""Written in an iteration of PPO or GRPO, of 24 tokens each."""


def prompts(vocabulary: int) -> list[list[int]]:
    return [[(7 * i + 11 * j) % (vocabulary - 10) + 5 for j in range(PROMPT)] for i in range(BATCH)]


def retorno(model: str) -> Callable[[], float]:
    """Tokens a second, drawn from the whole distribution; no text ends."""
    from dataclasses import replace

    from retorno import language

    read = language.load(model)
    read = replace(read, architecture=replace(read.architecture, ends=()))
    return _rate(lambda: language.generate(read, prompts(read.architecture.vocabulary), TOKENS))


def transformers(folder: str) -> Callable[[], float]:
    """The same by `generate`, with the number of threads that is faster for it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    given = torch.tensor(prompts(model.config.vocab_size))
    settings = {"max_new_tokens": TOKENS, "do_sample": True, "top_k": 0, "pad_token_id": 0}
    model.generation_config.eos_token_id = None
    generate = _rate(lambda: model.generate(given, attention_mask=torch.ones_like(given), **settings))
    return _with_threads(torch, generate)


def words(number: int, length: int) -> str:
    return " ".join(f"w{(7 * number + 11 * j) % 1000 + 5}" for j in range(length))


def texts(count: int) -> list[dict[str, str]]:
    """Prompts of 8 words, with two answers of 24 each."""
    return [{"prompt": words(i, 8), "chosen": words(i + 3, 24), "rejected": words(i + 5, 24)} for i in range(count)]


def training(kind: str) -> Any:
    """What learns, in retorno."""
    from dataclasses import replace

    import retorno as rt
    from retorno import language
    from retorno.networks import Apart
    from retorno.ops.optimisers import AdamW

    stored = language.StoredModel(LEARNT)
    records, relabel = texts(64), None
    optimiser = AdamW(1e-4, max_gradient_norm=1.0)
    trained = language.UpperLayers(UPPER) if LARGE else language.Everything()
    decoder = language.Decoder(stored, trained, window=40)
    if kind == "sft":
        world = language.demonstrations(
            [{"prompt": "", "answer": f"{x['prompt']} {x['chosen']}"} for x in records], stored
        )
        # A column holds four texts.
        algorithm = rt.algorithms.BehaviourCloning(decoder, num_envs=4, optimiser=optimiser)
    elif kind == "ppo":
        world = language.prompts(records, stored, answer=24)
        sized = replace(decoder, window=world.rows)
        algorithm = rt.algorithms.PPO(
            Apart(sized, sized), num_envs=ANSWERS, rollout=world.rows, epochs=4, minibatches=1, optimiser=optimiser
        )
        frozen = replace(sized, trained=language.UpperLayers(0))
        relabel = rt.relabel.InTurn((language.ModelScore(frozen), rt.relabel.ReferenceKL(0.05, frozen)))
    elif kind == "grpo":
        world = language.prompts(records, stored, answer=24)
        sized = replace(decoder, window=world.rows)
        algorithm = rt.algorithms.GRPO(sized, num_envs=ANSWERS, group=8, rollout=world.rows, optimiser=optimiser)
        relabel = language.FunctionScore(f"{__file__}:lengths", stored, unended=None)
    else:
        world = language.rankings(records, stored)
        made = {"reward": rt.algorithms.RewardModel, "dpo": rt.algorithms.DPO}[kind]
        algorithm = made(network=decoder, num_envs=32, optimiser=optimiser)
    return rt.train(algorithm, world, 2_000_000_000, relabel=relabel)


def learning(kind: str) -> Callable[[], float]:
    """Steps of learning a second, in retorno."""
    reports = iter(training(kind))
    told, clock = next(reports), _clock()

    def measure() -> float:
        nonlocal told
        before, began = told.updates, clock()
        while told.updates < before + STEPS:
            told = next(reports)
        return (told.updates - before) / (clock() - began)

    return measure


def bare(kind: str) -> Callable[[], float]:
    """The same steps a second of what is written and learnt, compiled as one program, and nothing else."""
    import jax

    from retorno.core.constants import jit
    from retorno.core.hyperparameters import as_arrays
    from retorno.run.loop import iterate

    begun = training(kind)
    algorithm = as_arrays(begun.algorithm)
    one = lambda run, _: (iterate(algorithm, begun.world, run).after, None)  # noqa: E731
    many = jit(lambda run: jax.lax.scan(one, run, length=STEPS)[0], donate_argnums=0)
    state, clock = {"run": begun.run}, _clock()

    def measure() -> float:
        began = clock()
        state["run"] = many(state["run"])
        jax.block_until_ready(state["run"])
        return STEPS / (clock() - began)

    return measure


def lengths(prompts: list[str], completions: list[str] = (), **_: Any) -> list[float]:  # type: ignore[assignment]
    """What an answer is worth, to both: how many different words it has."""
    return [float(len(set(answer.split()))) for answer in completions]


QUIETLY: dict[str, Any] = {
    "output_dir": OUT, "learning_rate": 1e-4, "use_cpu": True, "bf16": False, "report_to": "none",
    "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "gradient_checkpointing": False,
}  # fmt: skip
"""Settings of each of TRL's trainers: float32 on the CPU, and nothing told or kept."""


def trl(kind: str) -> Callable[[], float]:
    """The same by TRL's trainers."""
    import datasets
    import torch
    import transformers as hf
    import trl as library

    records = texts(64)
    common = {**QUIETLY, "per_device_train_batch_size": 16, "max_steps": STEPS}
    tokenizer = hf.AutoTokenizer.from_pretrained(LEARNT)
    model: Any = _upper(hf.AutoModelForCausalLM.from_pretrained(LEARNT, dtype=torch.float32)) if LARGE else LEARNT
    rows = datasets.Dataset.from_list(records)
    if kind == "sft":
        rows = datasets.Dataset.from_list([{"text": f"{x['prompt']} {x['chosen']}"} for x in records])
        make, settings = library.SFTTrainer, library.SFTConfig(**common)
    elif kind == "dpo":
        make, settings = library.DPOTrainer, library.DPOConfig(**common)
    elif kind == "reward":
        model = hf.AutoModelForSequenceClassification.from_pretrained(LEARNT, num_labels=1)
        model.config.pad_token_id = tokenizer.pad_token_id
        rows = datasets.Dataset.from_list(
            [{k: f"{x['prompt']} {x[k]}" for k in ("chosen", "rejected")} for x in records]
        )
        make, settings = library.RewardTrainer, library.RewardConfig(**common)
    else:
        more = {"per_device_train_batch_size": ANSWERS, "num_generations": 8, "max_completion_length": 24, "beta": 0.0}
        make, settings = library.GRPOTrainer, library.GRPOConfig(**{**common, **more})
    asked = {"reward_funcs": lambda prompts, completions, **_: lengths(prompts, completions)} if kind == "grpo" else {}
    if kind == "grpo":
        rows = rows.remove_columns(["chosen", "rejected"])
    trainer = make(model=model, args=settings, train_dataset=rows, processing_class=tokenizer, **asked)
    return _steps_of(trainer, torch)


def trl_ppo() -> Callable[[], float]:
    """PPO's iterations a second by TRL: a critic and a reward model of their own, and the distance from a reference."""
    import datasets
    import torch
    import transformers as hf
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    tokenizer = hf.AutoTokenizer.from_pretrained(LEARNT, padding_side="left")
    policy, reference = (hf.AutoModelForCausalLM.from_pretrained(LEARNT, dtype=torch.float32) for _ in range(2))
    scores = [
        hf.AutoModelForSequenceClassification.from_pretrained(LEARNT, num_labels=1, dtype=torch.float32)
        for _ in range(2)
    ]
    for model in scores:
        model.config.pad_token_id = tokenizer.pad_token_id
    if LARGE:
        policy, scores[1] = _upper(policy), _upper(scores[1])
    rows = datasets.Dataset.from_list([{"input_ids": tokenizer(each["prompt"])["input_ids"]} for each in texts(64)])
    settings = PPOConfig(
        **QUIETLY, per_device_train_batch_size=ANSWERS, num_mini_batches=1, num_ppo_epochs=4, response_length=24,
        total_episodes=ANSWERS * STEPS, local_rollout_forward_batch_size=ANSWERS, num_sample_generations=0,
        temperature=1.0, stop_token="eos",
    )  # fmt: skip
    trainer = PPOTrainer(settings, tokenizer, policy, reference, scores[0], rows, scores[1], eval_dataset=rows)
    return _steps_of(trainer, torch)


def _steps_of(trainer: Any, torch: Any) -> Callable[[], float]:
    """Steps a second of a trainer that makes `STEPS` of them."""
    clock = _clock()

    def measure() -> float:
        began = clock()
        trainer.train()
        return STEPS / (clock() - began)

    return _with_threads(torch, measure)


def _upper(model: Any) -> Any:
    """The same, of which the upper layers, the norm after them and a head of its own alone are trained."""
    model.requires_grad_(False)
    for part in (*model.model.layers[-UPPER:], model.model.norm, getattr(model, "score", None)):
        if part is not None:
            part.requires_grad_(True)
    return model


def gradient(model: str) -> Callable[[], float]:
    """Losses with their gradients a second, of all weights."""
    import jax
    import jax.numpy as jnp

    from retorno import language
    from retorno.algorithms.imitation.behaviour_cloning import cloning_loss
    from retorno.networks import policy_head

    stored = language.StoredModel(model)
    size = stored.architecture.vocabulary
    shown = [{"prompt": text[:1], "answer": text[1:]} for text in _tokens(size)]
    world = language.demonstrations(shown, stored)
    decoder = language.Decoder(stored, language.Everything(), window=64)
    network = decoder.build(jax.random.key(0), world.observation_space, {"policy": policy_head(world.action_space)})
    program = jax.jit(jax.grad(lambda network, lived: cloning_loss(network, lived)[0]))
    lived = jax.tree.map(jnp.asarray, world.lived)
    clock = _clock()

    def measure() -> float:
        began = clock()
        jax.block_until_ready(program(network, lived))
        return 1 / (clock() - began)

    return measure


def torch_gradient(folder: str) -> Callable[[], float]:
    """The same in PyTorch."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    given = torch.tensor(_tokens(model.config.vocab_size))
    clock = _clock()

    def measure() -> float:
        began = clock()
        model.zero_grad()
        model(given, labels=given).loss.backward()
        return 1 / (clock() - began)

    return _with_threads(torch, measure)


def _tokens(vocabulary: int) -> list[list[int]]:
    return [[(7 * i + 11 * j) % (vocabulary - 10) + 5 for j in range(64)] for i in range(BATCH)]


def _with_threads(torch: Any, measure: Callable[[], float]) -> Callable[[], float]:
    """With the number of threads that is faster for it."""
    rates = {}
    for threads in range(1, min(2, len(os.sched_getaffinity(0))) + 1):
        torch.set_num_threads(threads)
        rates[threads] = max(measure(), measure())
    torch.set_num_threads(max(rates, key=lambda threads: rates[threads]))
    return measure


def _clock() -> Callable[[], float]:
    return time.process_time if os.environ.get("CLOCK") == "cpu" else time.perf_counter


def _rate(work: Callable[[], Any]) -> Callable[[], float]:
    clock = _clock()

    def measure() -> float:
        began = clock()
        work()
        return BATCH * TOKENS / (clock() - began)

    return measure


if __name__ == "__main__":
    works: dict[str, Callable[[], Callable[[], float]]] = {}
    for name, model in {"small": SMALL, "smollm2": SMOLLM2}.items():
        works[f"retorno_{name}"] = lambda model=model: retorno(model)
        works[f"peer_{name}"] = lambda model=model: transformers(model)
    for name, model in {"gradient": TINY, "gradient_smollm2": SMOLLM2}.items():
        works[f"retorno_{name}"] = lambda model=model: gradient(model)
        works[f"peer_{name}"] = lambda model=model: torch_gradient(model)
    for kind in ("sft", "reward", "dpo", "grpo"):
        works[f"retorno_{kind}"] = lambda kind=kind: learning(kind)
        works[f"peer_{kind}"] = lambda kind=kind: trl(kind)
    works["retorno_ppo"], works["peer_ppo"] = lambda: learning("ppo"), trl_ppo
    works["retorno_loop"], works["peer_loop"] = lambda: learning("ppo"), lambda: bare("ppo")
    for kind in ("ppo", "grpo"):
        works |= {f"{who}_{kind}_smollm2": works[f"{who}_{kind}"] for who in ("retorno", "peer")}
    # What the libraries themselves print goes to stderr: stdout has the rates alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    serve(works, answers)
