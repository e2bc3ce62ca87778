"""Language models: pretrained weights, tokenizers, and what goes on with a text."""

from retorno.language.architecture import Architecture, ModelError
from retorno.language.conversation import Conversation, Memory, stream
from retorno.language.data import demonstrations, prompt_tokens, prompts, rankings
from retorno.language.decoder import Decoder
from retorno.language.generation import Answer, Sampling, generate, log_probs
from retorno.language.judging import (
    JudgeError,
    Point,
    WinRate,
    best_of,
    best_of_frontier,
    frontier,
    judge,
    mean_score,
    win_rate,
)
from retorno.language.model import LanguageModel, load, new, smollm2
from retorno.language.records import DataError, prompts_of
from retorno.language.scoring import FunctionScore, ModelScore
from retorno.language.stored import Storage, StoredModel
from retorno.language.tokenizer import Tokenizer
from retorno.language.trained import Everything, LoRA, UpperLayers

__all__ = [
    "Answer",
    "Architecture",
    "Conversation",
    "DataError",
    "Decoder",
    "Everything",
    "FunctionScore",
    "JudgeError",
    "LanguageModel",
    "LoRA",
    "Memory",
    "ModelError",
    "ModelScore",
    "Point",
    "Sampling",
    "Storage",
    "StoredModel",
    "Tokenizer",
    "UpperLayers",
    "WinRate",
    "best_of",
    "best_of_frontier",
    "demonstrations",
    "frontier",
    "generate",
    "judge",
    "load",
    "log_probs",
    "mean_score",
    "new",
    "prompt_tokens",
    "prompts",
    "prompts_of",
    "rankings",
    "smollm2",
    "stream",
    "win_rate",
]
