"""Tokenise conversations with the chat template of the model's tokenizer, and mark the answers.

Templates that mark what the assistant writes by `{% generation %}` are used as they are. For others
the answers are located by comparing the text of a conversation with the text of its beginnings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.answer_tokens import Encoded, Span, encode_texts
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]


def is_conversation(cell: Any) -> bool:
    """Whether a cell is a list of {role, content}, both of them texts."""
    return isinstance(cell, list) and all(
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
        for message in cell
    )


def is_answer(message: Message) -> bool:
    """Whether a message is the assistant's and not empty."""
    return message["role"] == "assistant" and bool(message["content"].strip())


class ChatEncoder:
    """Encodes conversations with a tokenizer's chat template.

    Args:
        dataset_format: for error messages.
        name: the dataset's name, for error messages.

    Raises:
        InvalidInput: if the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, dataset_format: str, name: str) -> None:
        if not tokenizer.chat_template:
            raise InvalidInput(
                f'training_args.dataset_format: "{dataset_format}" finds messages in {name!r}, and '
                "the model's tokenizer has no chat template to write them with; take a model with "
                "chat_template.jinja, or rows whose prompt and completion are texts"
            )
        self.tokenizer = tokenizer
        self.name = name
        self.marked_template = _marked_template(tokenizer)

    def encode(self, messages: list[Message]) -> Encoded:
        """The conversation up to its last answer, with all answers marked.

        Raises:
            InvalidInput: if the template refuses the messages, or the answers cannot be located.
        """
        last = max(i for i, message in enumerate(messages) if is_answer(message))
        messages = messages[: last + 1]
        if self.marked_template is None:
            return self._encode_by_prefixes(messages)
        encoded = self._apply(
            messages,
            chat_template=self.marked_template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        in_answer = [bool(marked) for marked in encoded["assistant_masks"]]
        if not any(in_answer):
            raise _answer_not_found()
        return encoded["input_ids"], in_answer

    def encode_completion(self, prompt: list[Message], completion: list[Message]) -> Encoded:
        """Prompt and completion as one conversation, with all text after the prompt marked.

        Raises:
            InvalidInput: if the template refuses the messages.
        """
        whole = self._write([*prompt, *completion])
        start = _common_prefix_length(self._write(prompt, add_generation_prompt=True), whole)
        [encoded] = encode_texts(
            [whole], [[(start, None)]], self.tokenizer, add_special_tokens=False
        )
        return encoded

    def _encode_by_prefixes(self, messages: list[Message]) -> Encoded:
        """Encode without a marked template.

        An answer is what the text of the messages up to and including it has more than the text of
        the messages before it.
        """
        whole = self._write(messages)
        answers: list[Span] = []
        for i, message in enumerate(messages):
            if not is_answer(message):
                continue
            before = self._write(messages[:i], add_generation_prompt=True)
            start = _common_prefix_length(before, whole)
            end = _common_prefix_length(self._write(messages[: i + 1]), whole)
            if message["content"].strip() not in whole[start:end]:
                raise _answer_not_found()
            answers.append((start, end))
        [encoded] = encode_texts([whole], [answers], self.tokenizer, add_special_tokens=False)
        return encoded

    def _write(self, messages: list[Message], add_generation_prompt: bool = False) -> str:
        """The messages as text, optionally with the beginning of the assistant's turn."""
        if not messages:
            return ""
        return str(
            self._apply(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
        )

    def _apply(self, messages: list[Message], **options: Any) -> Any:
        import jinja2

        try:
            return self.tokenizer.apply_chat_template(messages, **options)
        # TemplateError is raised by a template itself, the others by an expression in one.
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InvalidInput(
                f"training_args.dataset_name: {self.name!r} has a row that the model's chat "
                f"template refuses: {one_line(error)} (roles: {one_line(roles)}); leave such rows "
                "out, or take a model whose template takes them"
            ) from None


def _answer_not_found() -> InvalidInput:
    return InvalidInput(
        "training_args.dataset_format: from the chat template of the model's tokenizer it "
        "cannot be told which tokens are the assistant's; put {% generation %} and "
        "{% endgeneration %} around its answers in chat_template.jinja, or give rows of prompt "
        "and completion"
    )


def _marked_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The tokenizer's template if it has generation markers, or else trl's marked copy of it.

    None if trl has no copy of this template.
    """
    import jinja2
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        own = tokenizer.get_chat_template()
        return own if has_generation_markers(own) else get_training_chat_template(tokenizer)
    except (ValueError, TypeError, jinja2.TemplateError):
        return None


def _common_prefix_length(one: str, other: str) -> int:
    return len(os.path.commonprefix((one, other)))
