"""Chat templates: lm-eval hands over the messages, and wants the text back that its requests then begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reread.errors import UsageError
from reread.protocols import Reader


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the last user turn of a rendered conversation stands."""

    at: int
    text: str


class ChatTemplate:
    """Renders conversations with a local reader's own template, and remembers where their last user turns are.

    Raises UsageError where the reader has no template of its own to render.
    """

    def __init__(self, reader: Reader) -> None:
        tokenizer = getattr(reader, "tokenizer", None)
        if not getattr(tokenizer, "chat_template", None):
            why = "its server writes the template itself" if tokenizer is None else "it has no chat template"
            raise UsageError(f"--apply_chat_template means nothing to {reader.spec}: {why}; leave it out")
        self.tokenizer: Any = tokenizer
        self._turns: dict[str, Turn] = {}

    def render(self, history: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        """The conversation as text; without a generation prompt its last message is left open, to be continued."""
        from jinja2.exceptions import TemplateError

        try:
            text = self._render(history, add_generation_prompt)
        except TemplateError:  # templates that know no system role
            text = self._render([m for m in history if m["role"] != "system"], add_generation_prompt)
        users = [message["content"].strip() for message in history if message["role"] == "user"]
        at = text.rfind(users[-1]) if users else -1
        if at >= 0:
            self._turns[text] = Turn(at, users[-1])
        return text

    def _render(self, history: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            [dict(message) for message in history],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        assert isinstance(text, str)
        return text

    def turn_of(self, context: str) -> Turn:
        """The last user turn of a context rendered here. Raises UsageError where it was not, or none could be found."""
        if context not in self._turns:
            raise UsageError(
                "passages go into the last user turn, and it is not known where that is in these requests: either "
                "they come from --cache_requests (leave it out), or the chat template rewrites what users say"
            )
        return self._turns[context]
