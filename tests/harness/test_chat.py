"""Chat templates: lm-eval renders conversations with them, and passages go into the last user turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm_eval_tasks import local_task

pytest.importorskip("lm_eval")
transformers = pytest.importorskip("transformers")

from lm_eval.api.instance import Instance  # noqa: E402

from reread.errors import UsageError  # noqa: E402
from reread.harness.model import RereadLM  # noqa: E402
from reread.reading.prompts import ABOUT_PASSAGES  # noqa: E402

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}{% if not loop.last or "
    "not continue_final_message %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITHOUT_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
WRITTEN: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}} ",
    "doc_to_target": "{{gold}}",
    "description": "Answer in a word.",
    "fewshot_split": "test",
    "num_fewshot": 2,
    "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 10},
    "metric_list": [{"metric": "exact_match"}],
}


@pytest.fixture(scope="module")
def chat_rung(rung: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stored rung behind ChatML, whose tokenizer puts a beginning-of-text token before every text."""
    from tokenizers import processors

    folder = tmp_path_factory.mktemp("chat")
    model = transformers.AutoModelForCausalLM.from_pretrained(rung)
    tokenizer = transformers.AutoTokenizer.from_pretrained(rung)
    tokenizer.add_special_tokens(
        {"bos_token": "<|begin|>", "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    )
    start = ("<|begin|>", tokenizer.convert_tokens_to_ids("<|begin|>"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[start]
    )
    tokenizer.chat_template = "<|begin|>" + CHATML
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def conversation(question: str) -> list[dict[str, str]]:
    """Messages whose last question stands in an earlier turn too."""
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "granite"},
        {"role": "user", "content": f"{question} "},
    ]


@pytest.mark.parametrize("name", ["written", "multiturn_off", "with_prefix", "choice"])
def test_conversations_give_the_hf_backends_texts_and_likelihoods(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    chat_rung: Path,
    evaluate: Callable[..., dict[str, Any]],
    name: str,
) -> None:
    config = {**WRITTEN, "gen_prefix": "The word is"} if name == "with_prefix" else WRITTEN
    if name == "choice":
        scored = {"output_type": "multiple_choice", "doc_to_choice": "choices", "metric_list": [{"metric": "acc"}]}
        config = {**WRITTEN, **scored, "doc_to_target": "{{choices.index(gold)}}"}
        del config["generation_kwargs"]
    task = local_task(tmp_path, name, rows[:12], **config)
    settings = {"apply_chat_template": True, "fewshot_as_multiturn": name != "multiturn_off"}
    theirs = evaluate(
        "hf", {"pretrained": str(chat_rung), "device": "cpu", "dtype": "float32"}, [task], batch_size=1, **settings
    )
    ours = evaluate("reread", {"reader": f"hf:{chat_rung}"}, [task], **settings)
    for mine, peer in zip(ours["samples"][name], theirs["samples"][name], strict=True):
        assert mine["arguments"] == peer["arguments"]
        for (a,), (b,) in zip(mine["resps"], peer["resps"], strict=True):
            assert a == b if isinstance(a, str) else a == (pytest.approx(b[0], abs=2e-4), b[1])


@pytest.mark.parametrize("template", [CHATML, WITHOUT_SYSTEM + CHATML])
def test_passages_stand_at_the_top_of_the_last_user_turn(
    chat_rung: Path, store: Path, rows: list[dict[str, Any]], template: str
) -> None:
    model = RereadLM(f"hf:{chat_rung}", str(store), "retrieval+k2")
    model.reader.tokenizer.chat_template = template  # type: ignore[attr-defined]
    seen = []
    generate = model.reader.generate
    model.reader.generate = lambda prompts, **how: seen.extend(prompts) or generate(prompts, **how)  # type: ignore
    question = rows[0]["question"]
    context = model.apply_chat_template(conversation(question))
    doc = {"question": question}
    model.generate_until([Instance("generate_until", doc, (context, {"max_gen_toks": 2}), 0, ("t", 0, 1))])
    before, after = context[: context.rfind(question)], context[context.rfind(question) :]
    (prompt,) = seen
    assert prompt.startswith(f"{before}{ABOUT_PASSAGES}\n\n[1] ") and "\n\n[2] " in prompt
    assert prompt.endswith(f"\n\n{after}")
    assert prompt.count("<|im_start|>") == context.count("<|im_start|>")


def test_without_the_records_question_the_last_turn_is_searched_with(
    chat_rung: Path, store: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = RereadLM(f"hf:{chat_rung}", str(store), "retrieval+k1", log=str(tmp_path / "log.jsonl"))
    context = model.apply_chat_template([*conversation(rows[0]["question"])[:3], conversation(rows[1]["question"])[3]])
    model.generate_until([Instance("generate_until", {}, (context, {"max_gen_toks": 2}), 0, ("t", 0, 1))])
    assert f'"queries": ["{rows[1]["question"]}"]' in (tmp_path / "log.jsonl").read_text()


def test_a_context_that_was_not_rendered_here_is_refused_with_passages(chat_rung: Path, store: Path) -> None:
    model = RereadLM(f"hf:{chat_rung}", str(store), "retrieval+k1")
    model.apply_chat_template(conversation("Which stone is it?"))
    with pytest.raises(UsageError, match="--cache_requests"):
        model.generate_until([Instance("generate_until", {}, ("<|im_start|>user\nQ", {}), 0, ("t", 0, 1))])


def test_a_reader_without_a_template_and_a_template_by_name_are_refused(rung: Path, chat_rung: Path) -> None:
    with pytest.raises(UsageError, match="it has no chat template"):
        RereadLM(f"hf:{rung}").apply_chat_template(conversation("Which stone is it?"))
    with pytest.raises(UsageError, match="one chat template, and 'tool'"):
        RereadLM(f"hf:{chat_rung}").chat_template("tool")
