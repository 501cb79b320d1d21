"""Tokenise conversations with the chat template of the model's tokenizer, and mark the answers.

Templates that mark what the assistant writes by `{% generation %}` are used as they are. For others
the answers are located by comparing the text of a conversation with the text of its beginnings.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from liger_benchmark.training.answer_tokens import Encoded, Span, encode_texts
from liger_benchmark.training.messages import (
    Message,
    as_parts_or_text,
    is_answer,
    read_list,
    text_of,
    tidy,
    worded,
)
from liger_benchmark.training.row_counts import NOT_FOUND, REFUSED
from liger_benchmark.training.template_clock import Clock
from liger_benchmark.validation import InvalidInput, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RefusedRow(InvalidInput):
    """A row that the chat template does not take.

    Attributes:
        reason: in a few words, by which such rows are counted.
    """

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(problem)
        self.reason = reason


class TemplateRefuses(ValueError):
    """A chat template does not take some messages. The message is one line."""


class ChatEncoder:
    """Encodes conversations with a tokenizer's chat template.

    Args:
        dataset_format: for error messages.
        name: the dataset's name, for error messages.

    Attributes:
        clock: tells whether the template has written a date.

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
        self.clock = Clock()
        self.takes_only_parts = self._takes_only_parts()
        # Marks become token positions by way of offsets, which a tokenizer in Python lacks.
        with self.clock.stopped():  # trl tries the template, too
            self.marked_templates = {
                with_tools: _marked_template(tokenizer, with_tools) if tokenizer.is_fast else None
                for with_tools in (False, True)
            }
        self.clock.was_read = False

    def render(self, messages: list[Message], **options: Any) -> Any:
        """`apply_chat_template`, which makes the same of the same messages on every day.

        Raises:
            TemplateRefuses: if the template does not take the messages.
        """
        with self.clock.stopped():
            try:
                return self.tokenizer.apply_chat_template(messages, **options)
            except _template_errors() as error:
                raise TemplateRefuses(one_line(error)) from None

    def encode(self, messages: list[Message], tools: Any = None, row: int = 1) -> Encoded:
        """The conversation up to its last answer, with all answers marked.

        Args:
            tools: the tools that the template is told of: a list, or that as JSON.
            row: the row's number, for error messages.

        Raises:
            RefusedRow: if the template refuses the messages, or the answers cannot be located.
        """
        last = max(i for i, message in enumerate(messages) if is_answer(message))
        conversation = _Conversation(self, messages[: last + 1], tools, row)
        marked_template = self.marked_templates[bool(conversation.tools)]
        if marked_template is None:
            return self._encode_by_prefixes(conversation)
        try:
            encoded = conversation.apply(
                chat_template=marked_template,
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
        except RefusedRow:
            # trl's marked copy may refuse what the tokenizer's own template takes.
            return self._encode_by_prefixes(conversation)
        in_answer = [bool(marked) for marked in encoded["assistant_masks"]]
        if not any(in_answer):
            raise _answer_not_found()
        return encoded["input_ids"], in_answer

    def encode_completion(
        self, prompt: list[Message], completion: list[Message], tools: Any = None, row: int = 1
    ) -> Encoded:
        """Prompt and completion as one conversation, with all text after the prompt marked.

        Raises:
            RefusedRow: if the template refuses the messages.
        """
        conversation = _Conversation(self, [*prompt, *completion], tools, row)
        whole = conversation.write()
        before = conversation.write(len(prompt), add_generation_prompt=True)
        start = _common_prefix_length(before, whole)
        [encoded] = encode_texts(
            [whole], [[(start, None)]], self.tokenizer, add_special_tokens=False
        )
        return encoded

    def _takes_only_parts(self) -> bool:
        """Whether the template writes a content that is a list of parts, and none that is a text.

        Asked of the template itself, with a text that it cannot hold otherwise.
        """
        text = "a text to look for"
        for as_parts in (False, True):
            message = as_parts_or_text({"role": "user", "content": text}, as_parts)
            with contextlib.suppress(TemplateRefuses):
                if text in self.render([message], tokenize=False):
                    return as_parts
        return False

    def _encode_by_prefixes(self, conversation: _Conversation) -> Encoded:
        """Encode without a marked template.

        An answer is what the text of the messages up to and including it has more than the text of
        the messages before it.
        """
        whole = conversation.write()
        answers: list[Span] = []
        for i, message in enumerate(conversation.messages):
            if not is_answer(message):
                continue
            before = conversation.write(i, add_generation_prompt=True)
            start = _common_prefix_length(before, whole)
            end = _common_prefix_length(conversation.write(i + 1), whole)
            if text_of(message).strip() not in whole[start:end]:
                raise _answer_not_found()
            if end > start:
                answers.append((start, end))
        if not answers:
            raise _answer_not_found()
        [encoded] = encode_texts([whole], [answers], self.tokenizer, add_special_tokens=False)
        return encoded


class _Conversation:
    """Messages of one row, and what the chat template makes of them.

    A key without a value is left out: Arrow gives every message the keys of all. Templates differ
    in how they want a call of tools: a content of null or of no text, arguments as a mapping or as
    JSON. Those are tried, in this order, see `_choose_wording`.
    """

    def __init__(self, encoder: ChatEncoder, messages: list[Message], tools: Any, row: int) -> None:
        self.encoder = encoder
        self.row = row
        self.tools = read_list(tools)
        tidied = (tidy(message) for message in messages)
        self.messages = [as_parts_or_text(each, encoder.takes_only_parts) for each in tidied]
        if any("tool_calls" in message for message in self.messages):
            self._choose_wording()

    def write(self, n: int | None = None, add_generation_prompt: bool = False) -> str:
        """The first `n` messages as text, optionally with the beginning of the assistant's turn."""
        if n == 0:
            return ""
        return str(self.apply(n, tokenize=False, add_generation_prompt=add_generation_prompt))

    def apply(self, n: int | None = None, **options: Any) -> Any:
        """What `apply_chat_template` returns for the first `n` messages.

        Raises:
            RefusedRow: if the template refuses them.
        """
        messages = self.messages[:n]
        if self.tools:
            options["tools"] = self.tools
        try:
            return self.encoder.render(messages, **options)
        except TemplateRefuses as error:
            roles = ", ".join(message["role"] for message in messages)
            raise RefusedRow(
                f"training_args.dataset_name: {self.encoder.name!r} has in row {self.row} what the "
                f"model's chat template refuses: {error} (roles: {one_line(roles)}); "
                "leave such rows out, or take a model whose template takes them",
                REFUSED,
            ) from None

    def _choose_wording(self) -> None:
        """Take the wording of the calls that the template takes, with the fewest words None."""
        wordings = [
            [worded(message, as_json, empty) for message in self.messages]
            for as_json in (False, True)
            for empty in (None, "")
        ]
        fewest: int | None = None
        chosen = self.messages
        for self.messages in wordings:
            try:
                n = self.write().count("None")
            except RefusedRow:
                continue
            if fewest is None or n < fewest:
                fewest, chosen = n, self.messages
        self.messages = chosen


def _answer_not_found() -> RefusedRow:
    return RefusedRow(
        "training_args.dataset_format: from the chat template of the model's tokenizer it "
        "cannot be told which tokens are the assistant's; put {% generation %} and "
        "{% endgeneration %} around its answers in chat_template.jinja, or give rows of prompt "
        "and completion",
        NOT_FOUND,
    )


def _marked_template(tokenizer: PreTrainedTokenizerBase, with_tools: bool) -> str | None:
    """The tokenizer's template if it has generation markers, or else trl's marked copy of it.

    A tokenizer may have a template of its own for rows with tools.

    None if trl has no copy of this template.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        own = tokenizer.get_chat_template(tools=[{}] if with_tools else None)
        if has_generation_markers(own):
            return own
        if own != tokenizer.chat_template:
            return None  # trl knows one template a tokenizer
        return get_training_chat_template(tokenizer)
    except _template_errors():
        return None


def _template_errors() -> tuple[type[Exception], ...]:
    """What a template that does not take some messages may raise.

    TemplateError is raised by a template itself, the others by an expression in one.
    """
    import jinja2

    return (
        *(jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError),
        AttributeError,
    )


def _common_prefix_length(one: str, other: str) -> int:
    return len(os.path.commonprefix((one, other)))
