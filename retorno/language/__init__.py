"""Language models: pretrained weights, tokenizers, and what goes on with a text."""

from retorno.language.architecture import Architecture, ModelError
from retorno.language.conversation import Conversation, Memory, stream
from retorno.language.data import DataError, demonstrations, prompt_tokens, prompts, rankings
from retorno.language.decoder import Decoder
from retorno.language.generation import Answer, Sampling, generate, log_probs
from retorno.language.model import LanguageModel, load, new, smollm2
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
    "LanguageModel",
    "LoRA",
    "Memory",
    "ModelError",
    "ModelScore",
    "Sampling",
    "Storage",
    "StoredModel",
    "Tokenizer",
    "UpperLayers",
    "demonstrations",
    "generate",
    "load",
    "log_probs",
    "new",
    "prompt_tokens",
    "prompts",
    "rankings",
    "smollm2",
    "stream",
]
