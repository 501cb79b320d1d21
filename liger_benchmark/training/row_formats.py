"""The forms that a dataset's rows may have, and which of a row's tokens are its answer.

* `text`: Alpaca's; what follows `### Response:` is the answer.
* `prompt_completion`: two texts, of which the completion is the answer, up to an end-of-sequence
  token; or two lists of messages.
* `messages`: a conversation; what the assistant says is the answer, in each of its turns.

Messages become text by the chat template of the model's own tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from liger_benchmark.validation import InvalidInput, one_line, show

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

    # A row's token ids, and for each whether it belongs to the answer.
    Encoded = tuple[list[int], list[bool]]

RESPONSE_MARKER = "### Response:"


@dataclass(frozen=True)
class Form:
    """What the rows of a form look like.

    Attributes:
        columns: those that a row has to have.
        answer: what a row has to hold to be learnt from, for people.
        has_answer: whether a row's cells hold it; a row that does not is left out.
        is_right: whether a row's cells are of the form at all; one that is not is an error.
        right: what they should be, for people.
    """

    columns: tuple[str, ...]
    answer: str
    has_answer: Callable[..., bool]
    is_right: Callable[..., bool] = lambda *cells: True
    right: str = ""


def _is_text_with_response(text: Any) -> bool:
    return isinstance(text, str) and bool(text.partition(RESPONSE_MARKER)[2].strip())


def _is_conversation(cell: Any) -> bool:
    return isinstance(cell, list) and all(
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
        for message in cell
    )


def _is_answer(message: dict[str, Any]) -> bool:
    return message["role"] == "assistant" and bool(message["content"].strip())


def _has_completion(prompt: Any, completion: Any) -> bool:
    if prompt is None or completion is None:
        return False
    if isinstance(completion, str):
        return bool(completion.strip())
    return any(_is_answer(message) for message in completion)


def _is_prompt_and_completion(prompt: Any, completion: Any) -> bool:
    if prompt is None or completion is None:
        return True
    both = (prompt, completion)
    return all(isinstance(cell, str) for cell in both) or all(map(_is_conversation, both))


FORMS = {
    "text": Form(
        ("text",), f"text holds '{RESPONSE_MARKER}' and a response", _is_text_with_response
    ),
    "prompt_completion": Form(
        ("prompt", "completion"),
        "prompt is not null and whose completion holds an answer",
        _has_completion,
        _is_prompt_and_completion,
        "two texts or two lists of {role, content}, both of them texts",
    ),
    "messages": Form(
        ("messages",),
        "messages hold an answer of the role 'assistant'",
        lambda cell: cell is not None and any(_is_answer(message) for message in cell),
        lambda cell: cell is None or _is_conversation(cell),
        "a list of {role, content}, both of them texts",
    ),
}


def usable_rows(rows: datasets.Dataset, dataset_format: str, name: str) -> datasets.Dataset:
    """The rows of the dataset `name` that hold an answer, with the columns of their form alone.

    Raises:
        InvalidInput: if the rows are not of that form, or fewer than two hold an answer.
    """
    form = FORMS[dataset_format]
    missing = [repr(column) for column in form.columns if column not in rows.column_names]
    if missing:
        columns = f"column{'s' * (len(missing) > 1)} {' and '.join(missing)}"
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has no {columns}, which dataset_format "
            f'"{dataset_format}" needs; it has {", ".join(rows.column_names)}; '
            f"{_what_would_fit(rows.column_names)}"
        )
    chosen = rows.select_columns(list(form.columns))
    cells = zip(*(chosen[column][:] for column in form.columns), strict=True)
    usable = []
    for i, row in enumerate(cells):
        if not form.is_right(*row):
            shown = (f"{c} {show(v)}" for c, v in zip(form.columns, row, strict=True))
            raise InvalidInput(
                f"training_args.dataset_name: {name!r} has in row {i + 1} {' and '.join(shown)}; "
                f'dataset_format "{dataset_format}" needs {form.right}'
            )
        if form.has_answer(*row):
            usable.append(i)
    if len(usable) < 2:
        raise InvalidInput(
            f"training_args.dataset_name: {name!r} has {len(usable)} rows whose {form.answer}; "
            "at least 2 are needed"
        )
    return chosen.select(usable)


def encode(
    rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, dataset_format: str, name: str
) -> list[Encoded]:
    """Each row's tokens, whole, with those of its answer marked.

    Raises:
        InvalidInput: if the rows are messages, and the tokenizer's chat template is missing,
            refuses them, or does not tell which tokens are the answer.
    """
    if dataset_format == "text":
        texts = rows["text"][:]
        answers = [text.index(RESPONSE_MARKER) + len(RESPONSE_MARKER) for text in texts]
        return _encode_texts(texts, [[(start, None)] for start in answers], tokenizer)
    if dataset_format == "messages":
        chat = _Chat(tokenizer, dataset_format, name)
        return [chat.encode(messages) for messages in rows["messages"][:]]
    prompts, completions = rows["prompt"][:], rows["completion"][:]
    if isinstance(prompts[0], str):
        end = tokenizer.eos_token or ""
        texts = [
            prompt + completion.removesuffix(end) + end
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return _encode_texts(texts, [[(len(prompt), None)] for prompt in prompts], tokenizer)
    chat = _Chat(tokenizer, dataset_format, name)
    both = zip(prompts, completions, strict=True)
    return [chat.encode_completion(prompt, completion) for prompt, completion in both]


def _what_would_fit(column_names: Sequence[str]) -> str:
    fitting = [f'"{name}"' for name, form in FORMS.items() if {*form.columns} <= {*column_names}]
    if fitting:
        return f"dataset_format: {' or '.join(fitting)} would fit"
    needed = "; ".join(f'"{name}" {" and ".join(form.columns)}' for name, form in FORMS.items())
    return f"rename columns to those that a dataset_format needs ({needed})"


def _encode_texts(
    texts: list[str],
    answers: Iterable[list[tuple[int, int | None]]],
    tokenizer: PreTrainedTokenizerBase,
    add_special_tokens: bool = True,
) -> list[Encoded]:
    """The texts' tokens; `answers` are where in each the answers begin and end, in characters."""
    encoded = tokenizer(texts, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    rows = zip(encoded["input_ids"], encoded["offset_mapping"], answers, strict=True)
    # A special token that the tokenizer adds has the empty offset (0, 0) and is no answer.
    return [
        (
            ids,
            [
                any(end > first and (last is None or start < last) for first, last in spans)
                for start, end in offsets
            ],
        )
        for ids, offsets, spans in rows
    ]


class _Chat:
    """Conversations as the model's own chat template writes them."""

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

    def encode(self, messages: list[dict[str, Any]]) -> Encoded:
        """The conversation up to its last answer, with every answer marked."""
        last = max(i for i, message in enumerate(messages) if _is_answer(message))
        messages = messages[: last + 1]
        if self.marked_template is None:
            return self._encode_by_prefixes(messages)
        encoded = self._apply(
            messages,
            chat_template=self.marked_template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        learnt = [bool(marked) for marked in encoded["assistant_masks"]]
        if not any(learnt):
            raise self._answer_not_found()
        return encoded["input_ids"], learnt

    def encode_completion(
        self, prompt: list[dict[str, Any]], completion: list[dict[str, Any]]
    ) -> Encoded:
        """The conversation with all marked that the template writes after the prompt."""
        whole = self._write([*prompt, *completion])
        start = _common_prefix(self._write(prompt, ask=True), whole)
        [encoded] = _encode_texts(
            [whole], [[(start, None)]], self.tokenizer, add_special_tokens=False
        )
        return encoded

    def _encode_by_prefixes(self, messages: list[dict[str, Any]]) -> Encoded:
        """An answer is what the template writes more with the answer's turn than before it."""
        whole = self._write(messages)
        answers: list[tuple[int, int | None]] = []
        for i, message in enumerate(messages):
            if not _is_answer(message):
                continue
            start = _common_prefix(self._write(messages[:i], ask=True), whole)
            end = _common_prefix(self._write(messages[: i + 1]), whole)
            if message["content"].strip() not in whole[start:end]:
                raise self._answer_not_found()
            answers.append((start, end))
        [encoded] = _encode_texts([whole], [answers], self.tokenizer, add_special_tokens=False)
        return encoded

    def _write(self, messages: list[dict[str, Any]], ask: bool = False) -> str:
        """The messages as text; with `ask`, up to where the assistant has to answer."""
        if not messages:
            return ""
        return str(self._apply(messages, tokenize=False, add_generation_prompt=ask))

    def _apply(self, messages: list[dict[str, Any]], **options: Any) -> Any:
        import jinja2

        try:
            return self.tokenizer.apply_chat_template(messages, **options)
        # What a template raises itself, and what it runs into where a row is not what it expects.
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InvalidInput(
                f"training_args.dataset_name: {self.name!r} has a row that the model's chat "
                f"template refuses: {one_line(error)} (roles: {one_line(roles)}); leave such rows "
                "out, or take a model whose template takes them"
            ) from None

    def _answer_not_found(self) -> InvalidInput:
        return InvalidInput(
            "training_args.dataset_format: from the chat template of the model's tokenizer it "
            "cannot be told which tokens are the assistant's; put {% generation %} and "
            "{% endgeneration %} around its answers in chat_template.jinja, or give rows of prompt "
            "and completion"
        )


def _marked_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A template that marks what the assistant says: the tokenizer's own, or trl's copy of it.

    None if the tokenizer's own does not, and trl has no copy that does.
    """
    import jinja2
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        own = tokenizer.get_chat_template()
        return own if has_generation_markers(own) else get_training_chat_template(tokenizer)
    except (ValueError, TypeError, jinja2.TemplateError):
        return None


def _common_prefix(one: str, other: str) -> int:
    return len(os.path.commonprefix((one, other)))
