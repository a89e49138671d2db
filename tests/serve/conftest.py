"""Tiny GGUF models for the serving tests, written here: a scripted one and a random one."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest

LETTERS = [*"▁abcdefghijklmnopqrstuvwxyzAB123456789", "\n", "€", "[", "]", "{", "}", '"', ":", ","]
SPECIAL = ["<unk>", "<s>", "</s>", "<|end|>", "<|mark|>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TOKENS = SPECIAL + BYTES + LETTERS
WIDTH = 320

CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}[{{ m['content'] }}]"
    "{% elif m['role'] == 'tool' %}{{ raise_exception('no tools here') }}"
    "{% elif m['role'] == 'user' %}{{ m['content'] }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""The prompt ends with the user's last character, which in the scripted model decides all."""


def _chain(*tokens: str) -> dict[str, str]:
    return dict(pairwise(tokens))


SCRIPT = {
    # "a" is answered with "bcd", and so on; "x" is answered without end.
    **_chain("a", "b", "c", "d", "</s>"),
    **_chain("x", "y", "x"),
    **_chain("1", "2", "3", "4", "<|end|>"),
    **_chain("e", "<0xE2>", "<0x82>", "<0xAC>", "</s>"),
    **_chain("f", "<0xF0>", "<0x9F>", "</s>"),
    **_chain("k", "<|mark|>", "a"),
    **_chain("\n", "▁", "h", "i", "</s>"),
}


def write_model(
    file: Path,
    *,
    template: str | None = CHAT,
    scripted: bool = True,
    context: int = 512,
    add_bos: bool = True,
    tokens: list[str] = TOKENS,
    last_token: str | None = None,
    poison: bool = False,
) -> Path:
    """A Llama of one layer (scripted: the last token decides the next one) or two (random)."""
    if last_token is not None:
        tokens = [*tokens[:-1], last_token]
    layers, heads, feed = (1 if scripted else 2), 4, 64
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    kinds = {"<unk>": gguf.TokenType.UNKNOWN} | dict.fromkeys(SPECIAL[1:], gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(BYTES, gguf.TokenType.BYTE)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(3)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(add_bos)
    writer.add_add_space_prefix(False)
    if template:
        writer.add_chat_template(template)

    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        if scripted:
            return np.zeros((rows, columns), np.float32)
        return random.normal(0, 0.08, (rows, columns)).astype(np.float32)

    embedding, output = matrix(len(tokens), WIDTH), matrix(len(tokens), WIDTH)
    if scripted:
        np.fill_diagonal(embedding, 1.0)
        for last, following in SCRIPT.items():
            output[tokens.index(following), tokens.index(last)] = 2.0
    if poison:
        output[:] = np.nan
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(WIDTH, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_gate.weight", matrix(feed, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", matrix(feed, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(WIDTH, feed))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., Path]:
    return write_model


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers "a" with "bcd", "x" with "yxyx…", "e" with "€" in three byte tokens, …"""
    return write_model(tmp_path_factory.mktemp("gguf") / "scripted.gguf")


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``scripted``, with room for an answer that takes seconds."""
    return write_model(tmp_path_factory.mktemp("gguf") / "endless.gguf", context=32768)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a chat template: a base model. Answers everything with " hi"."""
    return write_model(tmp_path_factory.mktemp("gguf") / "plain.gguf", template=None)


@pytest.fixture(scope="session")
def random_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with attention: every token of the prompt matters."""
    file = tmp_path_factory.mktemp("gguf") / "random.gguf"
    return write_model(file, scripted=False, context=2048)
