"""Text from outside made inert before a language model reads it: control tokens of chat templates are broken apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

# Control tokens of common chat templates, for endpoints whose tokenizer we cannot ask. In order: <|…|> (ChatML,
# Qwen, Llama 3 and 4, Phi, Command-R, Granite, GLM, Harmony), EXAONE's [|…|], DeepSeek's full-width bars, Gemma's
# turns and images, Command-R's capitals, sentence marks, fill-in-the-middle marks, Mistral's and Llama 2's brackets,
# BERT's, reasoning and tool marks.
_CONTROL_TOKENS = re.compile(
    r"<\|[^<>|\s]{1,64}\|>|\[\|[^\[\]|\s]{1,64}\|\]|<｜[^<>｜]{1,64}｜>|</?(?:start|end)_of_(?:turn|image|audio)>|<[A-Z_]{3,32}_TOKEN>"
    r"|</?s>|</?(?:bos|eos|pad|unk|mask|cls|sep|sop|eop)>|<(?:BOS|EOS|PAD|UNK|MASK|CLS|SEP)>"
    r"|<fim_(?:prefix|middle|suffix|pad)>|<(?:unused|extra_id_)\d{1,4}>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|SYSTEM_PROMPT|THINK|ARGS"
    r"|CALL_ID|IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|PREFIX|MIDDLE|SUFFIX)\]|\[(?:CLS|SEP|MASK|PAD|UNK|gMASK|sMASK)\]"
    r"|</?(?:think|tools?|tool_call|tool_response|function_call|scratch_pad)>"
)


def neutralise(text: str, control_tokens: Sequence[str] = ()) -> str:
    """The text with a space after the first character of every control token, so that it reads as plain text.

    control_tokens: the reader's own, beside the common ones; those of one character cannot be broken and are left.
    What breaking leaves is looked at again, so nothing nested or overlapping survives; look-alikes stay as they are.
    """
    while True:
        broken = _CONTROL_TOKENS.sub(_break, text) if "<" in text or "[" in text else text
        # Looking tokens up, by their first characters first, is far quicker than matching hundreds everywhere.
        of_first = _by_first_character(tuple(control_tokens)).items()
        present = tuple(t for first, tokens in of_first if first in broken for t in tokens if t in broken)
        broken = _any_of(present).sub(_break, broken) if present else broken
        if broken == text:
            return text
        text = broken


def _break(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"


@lru_cache(maxsize=16)
def _by_first_character(tokens: tuple[str, ...]) -> dict[str, list[str]]:
    """The tokens that can be broken; blank ones (runs of spaces or line ends) are no control."""
    grouped: dict[str, list[str]] = {}
    for token in tokens:
        if len(token) > 1 and token.strip():
            grouped.setdefault(token[0], []).append(token)
    return grouped


@lru_cache(maxsize=64)
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=lambda t: (-len(t), t)))))
