"""Built-in models and datasets: generated without a network, identical on every machine.

Speed and memory depend on the model's architecture and on the number of tokens, and not on the
values of the weights or the meaning of the texts.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liger_benchmark.catalog import MODELS

N_INSTRUCTIONS = 512
N_LONG_INSTRUCTIONS = 128
N_SENTENCES_LONG = 120  # of an output, to fill 2048 tokens
N_32K_INSTRUCTIONS, N_SENTENCES_32K = 64, 1750  # of an output, to fill 32,768 tokens
# Rows whose lengths spread as those of conversations do. Of log-normal outputs half have more than
# 20 sentences (490 tokens with their prompt), and one in twenty more than 88 (1,850 tokens).
N_MIXED, MEDIAN_SENTENCES, SIGMA, MOST_SENTENCES = 1024, 20.0, 0.9, 480
SEED = 20241105

# At most the vocabulary of every built-in model; phi3-mini uses only this part of its own.
TOKENIZER_VOCABULARY = 512

# Turns are marked by Markdown headings: the tokenizer, trained on the instructions, has no special
# tokens for them.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ('system', 'user', 'assistant') %}"
    "{{ raise_exception('the roles are system, user and assistant') }}"
    "{% endif %}"
    "{{ '### ' + message['role'] | capitalize + ':\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ message['content'] }}"
    "{% endif %}"
    "{{ '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
# fmt: off
_NOUNS = (
    "river", "bridge", "garden", "engine", "letter", "market", "window", "harvest", "teacher",
    "compass", "orchard", "library", "kitchen", "lantern", "village", "railway", "painting",
    "notebook", "mountain", "harbour",
)
_ADJECTIVES = (
    "quiet", "broad", "early", "patient", "narrow", "bright", "honest", "careful", "distant",
    "simple",
)
_VERBS = (
    "carries", "follows", "measures", "repairs", "describes", "remembers", "crosses", "collects",
    "opens", "joins",
)
# fmt: on
_REASONS = (
    "because the work has to be finished before winter",
    "so that nobody is kept waiting at the gate",
    "although the road is longer than it looks",
    "since the old one could no longer be trusted",
    "and every visitor asks how it was done",
)


def write_model(name: str, folder: Path) -> None:
    """Write `config.json` and a tokenizer for the built-in model `name`, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(MODELS[name], indent=2) + "\n", encoding="utf-8")
    _train_tokenizer().save_pretrained(folder)


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of the built-in dataset `name`."""
    made_by: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "instructions": instructions,
        "long-instructions": long_instructions,
        "32k-instructions": instructions_of_32k,
        "mixed-length-instructions": mixed_length_instructions,
        "prompt-completion": prompts_and_completions,
        "chat": conversations,
    }
    return made_by[name]()


def instructions() -> list[dict[str, str]]:
    """`N_INSTRUCTIONS` rows in Alpaca's columns: instruction, input, output, text."""
    draw = random.Random(SEED)
    return [_instruction(draw) for _ in range(N_INSTRUCTIONS)]


def long_instructions() -> list[dict[str, str]]:
    """`N_LONG_INSTRUCTIONS` rows like those of `instructions`, each of more than 2048 tokens."""
    draw = random.Random(SEED)
    return [_instruction(draw, n_sentences=N_SENTENCES_LONG) for _ in range(N_LONG_INSTRUCTIONS)]


def instructions_of_32k() -> list[dict[str, str]]:
    """`N_32K_INSTRUCTIONS` rows like those of `instructions`, each of more than 32,768 tokens."""
    draw = random.Random(SEED)
    return [_instruction(draw, N_SENTENCES_32K) for _ in range(N_32K_INSTRUCTIONS)]


def mixed_length_instructions() -> list[dict[str, str]]:
    """`N_MIXED` rows like those of `instructions`, with outputs of log-normal lengths."""
    draw = random.Random(SEED)
    # All lengths are drawn before the first row, which draws from the same numbers.
    lengths = [draw.lognormvariate(math.log(MEDIAN_SENTENCES), SIGMA) for _ in range(N_MIXED)]
    return [_instruction(draw, n_sentences=min(max(1, round(n)), MOST_SENTENCES)) for n in lengths]


def prompts_and_completions() -> list[dict[str, str]]:
    """The rows of `instructions` in the columns prompt and completion."""
    return [
        {"prompt": row["text"].removesuffix(row["output"]), "completion": row["output"]}
        for row in instructions()
    ]


def conversations() -> list[dict[str, list[dict[str, str]]]]:
    """The rows of `instructions` in the column messages, two rows per conversation."""
    turns = [
        [
            {"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": row["output"]},
        ]
        for row in instructions()
    ]
    return [{"messages": [*turns[i], *turns[i + 1]]} for i in range(0, len(turns), 2)]


def _instruction(draw: random.Random, n_sentences: int | None = None) -> dict[str, str]:
    noun, other = draw.sample(_NOUNS, 2)
    adjective = draw.choice(_ADJECTIVES)
    n_sentences = n_sentences or draw.randint(1, 8)
    instruction = draw.choice(
        (
            f"Write {n_sentences} sentences about a {adjective} {noun} and a {other}.",
            f"Explain in {n_sentences} sentences why the {adjective} {noun} needs the {other}.",
            f"Describe in {n_sentences} sentences how a {noun} differs from a {adjective} {other}.",
        )
    )
    output = " ".join(_sentence(draw, noun, other) for _ in range(n_sentences))
    text = f"{PREAMBLE}\n\n### Instruction:\n{instruction}\n\n### Response:\n{output}"
    return {"instruction": instruction, "input": "", "output": output, "text": text}


def _sentence(draw: random.Random, noun: str, other: str) -> str:
    first, second = draw.choice(((noun, other), (other, noun)))
    return (
        f"The {draw.choice(_ADJECTIVES)} {first} {draw.choice(_VERBS)} the "
        f"{draw.choice(_ADJECTIVES)} {second} {draw.choice(_REASONS)}."
    )


def _train_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((row["text"] for row in instructions()), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template=CHAT_TEMPLATE,
    )
