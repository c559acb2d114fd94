"""EndpointReader: a language model behind any OpenAI-compatible server (vLLM, SGLang, llama.cpp, Ollama, ...)."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from reread import flops
from reread.errors import ReaderError, UsageError
from reread.http import JsonClient, Refused
from reread.inert import neutralise
from reread.protocols import Scored
from reread.reading.echo import echo_body, find_echo_method, read_continuation
from reread.runs import content_seed
from reread.types import Sample

logger = logging.getLogger(__name__)

APIS = ("auto", "chat", "completions")
CHAT, COMPLETIONS = "/chat/completions", "/completions"
PROBE_ATTEMPTS = 2
EMPTY_REPLIES = 2
"""Replies without a choice that a prompt may get before its samples are left as they are."""
AGAIN = 1_000_000
"""Added to a sample's number where an empty reply is asked for again: no other sample has that number."""
BYTES_PER_TOKEN = 4
"""Only for servers that report no usage."""

Result = TypeVar("Result")
Item = TypeVar("Item")


class EndpointReader:
    """Samples from a server; log-likelihoods where it returns those of a prompt (`echo` or
    `prompt_logprobs`).

    api: `chat` sends every prompt as one user turn, `completions` as it is; `auto` asks the server once
    which it knows. concurrency: requests under way at a time. timeout_s: of one request. attempts: at 429,
    5xx, time-outs and broken connections, with exponential waits. cache: a folder that keeps replies by
    content. use_key: False keeps OPENAI_API_KEY from a server that the user did not name. n_params: for the
    ledger, where you know them. max_length: the model's context, where you know it. extra: further body
    fields.
    """

    def __init__(
        self,
        model: str,
        url: str,
        *,
        api: str = "auto",
        concurrency: int = 8,
        timeout_s: float = 120.0,
        attempts: int = 5,
        cache: str | Path | None = None,
        use_key: bool = True,
        n_params: float | None = None,
        max_length: int | None = None,
        system: str | None = None,
        top_p: float = 1.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if api not in APIS:
            raise UsageError(f"api is {api!r}; it must be one of {', '.join(APIS)}")
        if concurrency < 1:
            raise UsageError(f"concurrency must be at least 1, not {concurrency}")
        self.spec = f"openai:{model}@{url}"
        self.model = model
        self.n_params = n_params
        self.n_layers = 0
        self.d_attention = 0
        self.system = system
        self.top_p = top_p
        self.extra = dict(extra or {})
        self.concurrency = concurrency
        self.client = JsonClient(url, timeout_s=timeout_s, attempts=attempts, cache=cache, use_key=use_key)
        self.usage = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self._api = api
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(concurrency)
        if max_length is not None:
            self.max_length = max_length

    @functools.cached_property
    def chat(self) -> bool:
        """Whether prompts go through the server's chat template; with api `auto` the server is asked once."""
        if self._api != "auto":
            return self._api == "chat"
        probe: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1}
        try:
            self._post(CHAT, self._chat_body("Hi", 1, probe), attempts=PROBE_ATTEMPTS)
        except Refused as refusal:
            # No such route, or (as `transformers serve` does without a chat template) an internal error: a server
            # that completes plain text serves a base model.
            try:
                self._post(COMPLETIONS, {"model": self.model, "prompt": "Hi", **probe, **self.extra})
            except ReaderError:
                raise refusal from None
            return False
        return True

    @functools.cached_property
    def can(self) -> frozenset[str]:
        """`generate`, and `loglikelihood` where the server gives the log-probabilities of a prompt (asked once)."""
        return frozenset({"generate", "loglikelihood"} if self._echo_method else {"generate"})

    def forward_flops(self, n_tokens: float, context: float) -> float:
        """FLOPs of a forward pass, from n_params where they were given, else 0."""
        return flops.forward_flops(self.n_params or 0, n_tokens, context=context)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        temperature: float = 0.0,
        max_tokens: int = 64,
        seed: int = 0,
        stop: Sequence[str] = (),
        first: int = 0,
    ) -> list[list[Sample]]:
        """The samples that came back, in the order of the prompts; a server may give fewer than n.

        n is asked for in one request; where fewer choices come back the rest is asked for one by one. A
        reply's first sample carries its prompt tokens. With temperature 0 one reply stands for all n. first:
        counts the samples asked for before; a server that gives several choices for one seed draws others for
        4 and then 4 more than for 8 at once.
        """
        if n < 1 or max_tokens < 1 or temperature < 0 or first < 0:
            given = f"n {n}, max_tokens {max_tokens}, temperature {temperature}, first {first}"
            raise UsageError(f"n and max_tokens must be at least 1, temperature and first at least 0, not {given}")
        fields: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        if self.top_p < 1:
            fields["top_p"] = self.top_p
        n_drawn = 1 if temperature == 0 else n
        _ = self.chat  # settled once, not by every thread
        if stop and self._takes_stop:
            fields["stop"] = list(stop)
        drawn = self._together(lambda prompt: self._first_reply(prompt, n_drawn, first, fields, seed), prompts)
        # What is still missing, one request each: servers that ignore n answer all of them at once.
        missing = [(i, k) for i, got in enumerate(drawn) for k in range(len(got), n_drawn) if got]
        more = self._together(lambda place: self._one_more(prompts[place[0]], first + place[1], fields, seed), missing)
        for (i, _), samples in zip(missing, more, strict=True):
            drawn[i].extend(samples)
        if stop:
            drawn = [[replace(sample, text=_cut(sample.text, stop)) for sample in samples] for samples in drawn]
        if n_drawn < n:
            free = [[Sample(s.text, None, 0, 0, s.logprob) for s in got[:1]] * (n - 1) for got in drawn]
            return [got + copies for got, copies in zip(drawn, free, strict=True)]
        return drawn

    def loglikelihood(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Scored]:
        """Log-probabilities of continuations, one request each; the server's own tokens, split by characters.

        A token that straddles the border counts to the continuation. Raises ReaderError where the server
        gives none.
        """
        method = self._echo_method
        if method is None:
            raise ReaderError(
                f"{self.spec} gives no log-probabilities of a prompt; use generation (form chat or short)"
            )
        pairs = [(prefix, continuation) for prefix, continuations in requests for continuation in continuations]
        read = iter(self._together(lambda pair: self._score(method, *pair), pairs))
        scored = []
        for _, continuations in requests:
            parts = [next(read) for _ in continuations]
            scored.append(
                Scored(
                    logprobs=tuple(part.logprob for part in parts),
                    n_tokens=tuple(part.n_tokens for part in parts),
                    n_prompt_tokens=min((part.n_all_tokens - part.n_tokens for part in parts), default=0),
                    n_computed_tokens=sum(part.n_all_tokens for part in parts),
                )
            )
        return scored

    @functools.cached_property
    def _takes_stop(self) -> bool:
        """Whether the server can be given stop strings (`transformers serve` fails on them with some tokenizers)."""
        probe: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1, "stop": ["\n"]}
        try:
            if self.chat:
                self._post(CHAT, self._chat_body("Hi", 1, probe), attempts=PROBE_ATTEMPTS)
            else:
                body = {"model": self.model, "prompt": "Hi", "n": 1, **probe, **self.extra}
                self._post(COMPLETIONS, body, attempts=PROBE_ATTEMPTS)
        except Refused as error:
            logger.warning("%s refuses stop strings (%s); its texts are cut here", self.spec, error.reason)
            return False
        return True

    @functools.cached_property
    def _echo_method(self) -> str | None:
        def ask(body: Mapping[str, Any]) -> dict[str, Any] | None:
            try:
                return self._post(COMPLETIONS, {"model": self.model, **body, **self.extra})
            except Refused as error:
                logger.info("%s gives no prompt log-probabilities: %s", self.spec, error.reason)
                return None

        return find_echo_method(ask)

    def _score(self, method: str, prefix: str, continuation: str) -> Any:
        body = {"model": self.model, **echo_body(method, prefix + continuation), **self.extra}
        return read_continuation(method, self._post(COMPLETIONS, body), prefix, continuation, self.spec)

    def _chat_body(self, prompt: str, n: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": neutralise(prompt)}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        return {"model": self.model, "messages": messages, "n": n, **fields, **self.extra}

    def _draw(self, prompt: str, n: int, number: int, fields: Mapping[str, Any], seed: int) -> list[Sample]:
        """One request for n choices, the first being the prompt's sample `number`; at most n samples."""
        if fields["temperature"] > 0:
            fields = {**fields, "seed": content_seed("sample", seed, prompt, number) % 2**31}
        if self.chat:
            reply = self._post(CHAT, self._chat_body(prompt, n, fields))
        else:
            reply = self._post(COMPLETIONS, {"model": self.model, "prompt": prompt, "n": n, **fields, **self.extra})
        return _samples(reply, prompt, self.spec)[:n]

    def _first_reply(self, prompt: str, n: int, first: int, fields: Mapping[str, Any], seed: int) -> list[Sample]:
        for attempt in range(EMPTY_REPLIES):
            # Another number is another seed, and another place in the cache.
            samples = self._draw(prompt, n, first + attempt * AGAIN, fields, seed)
            if samples:
                return samples
        return []

    def _one_more(self, prompt: str, number: int, fields: Mapping[str, Any], seed: int) -> list[Sample]:
        try:
            return self._draw(prompt, 1, number, fields, seed)
        except ReaderError as error:
            logger.warning("sample %d of a prompt is missing: %s", number + 1, error)
            return []

    def _post(self, path: str, body: Mapping[str, Any], attempts: int | None = None) -> dict[str, Any]:
        with self._slots:
            reply = self.client.post(path, body, attempts=attempts)
        prompt_tokens, completion_tokens = _usage(reply)
        with self._lock:
            self.usage["requests"] += 1
            self.usage["prompt_tokens"] += prompt_tokens or 0
            self.usage["completion_tokens"] += completion_tokens or 0
        return reply

    def _together(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The work's results in the items' order, `concurrency` at a time; the first error ends it."""
        if len(items) <= 1:
            return [work(item) for item in items]
        pool = ThreadPoolExecutor(max_workers=min(self.concurrency, len(items)))
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cut(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the stop strings; servers that take them have cut it already."""
    return text[: min((place for mark in stop if (place := text.find(mark)) >= 0), default=len(text))]


def _usage(reply: Mapping[str, Any]) -> tuple[int | None, int | None]:
    usage = reply.get("usage")
    if not isinstance(usage, Mapping):
        return None, None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    prompt_tokens, completion_tokens = (n if isinstance(n, int) and n >= 0 else None for n in counts)
    return prompt_tokens, completion_tokens


def _samples(reply: Mapping[str, Any], prompt: str, spec: str) -> list[Sample]:
    """One sample per choice that came back; tokens of the reply are shared out over its choices."""
    choices = reply.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str):
        raise ReaderError(f"{spec} answered without choices; is it an OpenAI-compatible server?")
    texts = []
    for choice in choices:
        if not isinstance(choice, Mapping):
            raise ReaderError(f"{spec} answered with a choice that is no object; is it an OpenAI-compatible server?")
        message = choice.get("message")
        content = message.get("content") if isinstance(message, Mapping) else choice.get("text")
        texts.append(content if isinstance(content, str) else "")
    prompt_tokens, completion_tokens = _usage(reply)
    if prompt_tokens is None:
        prompt_tokens = len(prompt.encode()) // BYTES_PER_TOKEN + 1
    sizes = [len(text.encode()) for text in texts]
    if completion_tokens is None:
        counts = [size // BYTES_PER_TOKEN + 1 for size in sizes]
    else:
        counts = [completion_tokens // max(1, len(texts))] * len(texts)
        counts[:1] = [completion_tokens - sum(counts[1:])] if texts else []
    return [
        Sample(text, None, prompt_tokens if i == 0 else 0, count)
        for i, (text, count) in enumerate(zip(texts, counts, strict=True))
    ]
