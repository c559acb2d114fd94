"""Tiny random models of the real architectures, with tokenizers, saved as their publishers save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = "yes no cat dog sits on the mat river water flows fast what where is a web search query"
WORDS = TEXT.split()
QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


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


def save_qwen3_reranker(folder: Path, chat_tokens: bool = True) -> None:
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    tokenizer = qwen3_tokenizer(chat_tokens, append_end=False)
    Qwen3ForCausalLM(qwen3_config(len(tokenizer))).save_pretrained(folder)
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
