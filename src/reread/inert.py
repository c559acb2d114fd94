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
        # Looking each token up is far quicker than matching any of hundreds at every character.
        if present := tuple(token for token in control_tokens if token in broken):
            own = _any_of(present)
            broken = own.sub(_break, broken) if own else broken
        if broken == text:
            return text
        text = broken


def _break(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"


@lru_cache(maxsize=64)
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    """Matches any of the tokens, the longest first; blank ones (runs of spaces or line ends) are no control."""
    wanted = sorted({token for token in tokens if len(token) > 1 and token.strip()}, key=lambda t: (-len(t), t))
    return re.compile("|".join(map(re.escape, wanted))) if wanted else None
