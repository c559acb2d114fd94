"""Tiny random models of the real architectures, with tokenizers, saved as their publishers save them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEXT = "yes no cat dog sits on the mat river water flows fast what where is a web search query"
WORDS = TEXT.split()
QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


QWEN3_RERANKER_TEMPLATE = (
    "{%- macro said(role) -%}{{ messages | selectattr('role', 'equalto', role) | map(attribute='content') | first }}"
    "{%- endmacro -%}"
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: {{ said('system') }}\n<Query>: {{ said('query') }}\n<Document>: {{ said('document') }}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n{{ '\n' }}"
)
"""Puts the messages of the roles system, query and document into the judging prompt, as Qwen3-Reranker's does."""


def qwen3_tokenizer(chat_tokens: bool = True, append_end: bool = True) -> Any:
    """Word pieces of single characters and words; like Qwen3-Embedding's, it appends <|endoftext|> itself."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = QWEN_TOKENS if chat_tokens else QWEN_TOKENS[:1]
    characters = [chr(n) for n in range(32, 127)] + ["\n"]
    vocabulary = {token: n for n, token in enumerate(dict.fromkeys([*special, "<unk>", *WORDS, *characters]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|."), behavior="isolated")
    if append_end:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        additional_special_tokens=special[1:],
        padding_side="left",
        model_max_length=512,
    )


def qwen3_config(vocabulary_size: int) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )


def save_qwen3_embedding(
    folder: Path, pooling: str | None = "lasttoken", prompts: bool = True, document_prompt: str = ""
) -> None:
    """A folder like Qwen3-Embedding's; without pooling, like bare transformers files."""
    import torch
    from transformers import Qwen3Model

    torch.manual_seed(0)
    tokenizer = qwen3_tokenizer()
    Qwen3Model(qwen3_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pooling is None:
        return
    kind = "sentence_transformers"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{kind}.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{kind}.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    query = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    texts = {"query": query, "document": document_prompt} if prompts else {}
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": texts, "default_prompt_name": None, "similarity_fn_name": "cosine"})
    )


def save_qwen3_reranker(folder: Path, chat_tokens: bool = True, template: str | None = QWEN3_RERANKER_TEMPLATE) -> None:
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    tokenizer = qwen3_tokenizer(chat_tokens, append_end=False)
    tokenizer.chat_template = template
    Qwen3ForCausalLM(qwen3_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_converted_qwen3_reranker(folder: Path, source: Path, n_labels: int = 1) -> None:
    """The classifier that gives the reranker's yes − no as its logit (or no and yes as two), as converters save it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForSequenceClassification

    tokenizer, judge = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    config = qwen3_config(len(tokenizer))
    config.num_labels, config.pad_token_id = n_labels, tokenizer.pad_token_id
    model = Qwen3ForSequenceClassification(config)
    model.model.load_state_dict(judge.model.state_dict())
    yes, no = (judge.lm_head.weight[tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
    with torch.no_grad():
        model.score.weight.copy_(torch.stack([no, yes]) if n_labels == 2 else (yes - no)[None])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_bert_classifier(folder: Path, n_labels: int = 1, headless: bool = False) -> None:
    """A cross-encoder of BERT's shape; headless, its classifier is not in the file though its name says so."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    vocabulary = {token: n for n, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=n_labels,
    )
    if not headless:
        BertForSequenceClassification(config).save_pretrained(folder)
        return
    BertModel(config).save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    saved["architectures"] = ["BertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(saved))


def save_trained_cross_encoder(folder: Path, words: Sequence[str], steps: int = 200) -> None:
    """A small BERT trained until it knows whether a passage of these words holds the query's word; seconds."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    save_bert_classifier(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # A wide initialisation: with BERT's 0.02 the loss stays at chance for 300 steps.
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    model = BertForSequenceClassification(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = random.Random(0)
    for _ in range(steps):
        wanted = [n % 2 == 0 for n in range(32)]
        pairs = [query_and_passage(rng, words, holds=hit) for hit in wanted]
        batch = tokenizer([q for q, _ in pairs], [p for _, p in pairs], padding=True, return_tensors="pt")
        logits = model(**batch).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(wanted).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)


def query_and_passage(rng: random.Random, words: Sequence[str], holds: bool) -> tuple[str, str]:
    """A word, and three to eight others; where `holds`, half of them are the word."""
    query = rng.choice(words)
    passage = rng.choices([word for word in words if word != query], k=rng.randint(3, 8))
    for place in rng.sample(range(len(passage)), (len(passage) + 1) // 2) if holds else ():
        passage[place] = query
    return query, " ".join(passage)


def save_xlm_roberta_classifier(folder: Path) -> None:
    """XLM-R's shape: positions that start behind the padding's, and a tokenizer that folds full-width letters."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, *(f"\u2581{word}" for word in WORDS), "\u2581", *(chr(n) for n in range(33, 127))]
    vocabulary = [(piece, 0.0 if n < 4 else -5.0) for n, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    )
    config = XLMRobertaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=1,
        num_labels=1,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    fast.save_pretrained(folder)
