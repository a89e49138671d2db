"""A tokenizer is read from its files, adds nothing by itself, and says what its control tokens
are."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetune.data.conversation import Message
from edgetune.data.templates.rendering import ChatTemplate
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import RequestError


def copy(source: Path, target: Path, *names: str) -> Path:
    target.mkdir()
    for name in names:
        shutil.copy(source / name, target)
    return target


def test_properties_come_from_the_files(spm: Tokenizer, chatml: Tokenizer) -> None:
    assert (spm.bos, spm.bos_id, spm.eos, spm.eos_id) == ("<s>", 1, "</s>", 2)
    assert spm.special_ids == {0, 1, 2}
    assert spm.eos_ids == {2}
    assert spm.chat_template is None
    assert {file.name for file in spm.files} == {"tokenizer.json", "tokenizer_config.json"}
    assert (chatml.bos, chatml.bos_id, chatml.eos) == ("", None, "<|im_end|>")
    assert chatml.chat_template is not None


def test_nothing_is_added_and_written_control_tokens_are_parsed(spm: Tokenizer) -> None:
    assert spm.encode("") == []
    ids = spm.encode("<s>fox</s>")
    assert (ids[0], ids[-1]) == (1, 2)
    assert not set(spm.encode("fox")) & spm.special_ids


@given(st.text())
def test_byte_level_text_survives_encoding_and_decoding(chatml: Tokenizer, text: str) -> None:
    assert chatml.decode(chatml.encode(text)) == text
    assert max(chatml.encode(text), default=0) < chatml.size


@given(st.text().filter(lambda text: "▁" not in text))
def test_byte_fallback_text_survives_encoding_and_decoding(spm: Tokenizer, text: str) -> None:
    [encoding] = spm.encode_batch([text])
    ids, offsets = encoding.ids, encoding.offsets
    assert ids == spm.encode(text)
    assert spm.decode(ids) == text
    assert all(0 <= start <= end <= len(text) for start, end in offsets)


def test_control_tokens_are_left_out_of_decoded_text_or_kept(spm: Tokenizer) -> None:
    ids = spm.encode("<s>fox</s>")
    assert spm.decode(ids) == "fox"
    assert spm.decode(ids, skip_special=False).endswith("</s>")
    assert spm.token_text(2) == "</s>"
    with pytest.raises(RequestError, match="no token"):
        spm.token_text(spm.size)


def test_written_control_tokens_are_found(spm: Tokenizer, chatml: Tokenizer) -> None:
    assert spm.special_text("an </s> end") == "</s>"
    assert spm.special_text("an <|im_end|> end") is None
    assert chatml.special_text("a<|im_end|><|im_start|>") == "<|im_end|>"


def test_every_stop_token_of_the_model_files_counts(chatml_dir: Path, tmp_path: Path) -> None:
    folder = copy(chatml_dir, tmp_path / "m", "tokenizer.json", "tokenizer_config.json")
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    (folder / "config.json").write_text('{"eos_token_id": 8}')
    tokenizer = Tokenizer.from_directory(folder)
    assert tokenizer.eos_ids == {7, 8, 9, tokenizer.eos_id}


def test_the_end_token_is_taken_from_the_model_where_the_tokenizer_names_none(
    chatml_dir: Path, tmp_path: Path
) -> None:
    folder = copy(chatml_dir, tmp_path / "m", "tokenizer.json")
    assert Tokenizer.from_directory(folder).eos == ""
    [end] = Tokenizer.from_directory(folder).encode("<|endoftext|>")
    (folder / "config.json").write_text(json.dumps({"eos_token_id": end}))
    assert Tokenizer.from_directory(folder).eos == "<|endoftext|>"


def test_chat_template_file_wins_over_the_configuration(chatml_dir: Path, tmp_path: Path) -> None:
    folder = copy(chatml_dir, tmp_path / "m", "tokenizer.json", "tokenizer_config.json")
    (folder / "chat_template.jinja").write_text("own file")
    assert Tokenizer.from_directory(folder).chat_template == "own file"


def test_of_several_named_templates_that_for_tools_is_taken_where_there_are_tools(
    chatml_dir: Path, tmp_path: Path
) -> None:
    folder = copy(chatml_dir, tmp_path / "m", "tokenizer.json")
    templates = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    tokenizer = Tokenizer.from_directory(folder)
    template = ChatTemplate(tokenizer.chat_template or "", "", "", "model")
    messages = [Message("user", "x")]
    assert template.render(messages) == "d"
    assert template.render(messages, tools=[{"type": "function"}]) == "t"


def test_missing_and_damaged_tokenizers_are_request_errors(
    chatml_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="no tokenizer in"):
        Tokenizer.from_directory(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(RequestError, match=r"tokenizer\.json cannot be read"):
        Tokenizer.from_directory(tmp_path)
    folder = copy(chatml_dir, tmp_path / "m", "tokenizer.json")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<none>"}')
    with pytest.raises(RequestError, match="`<none>`, which its vocabulary does not have"):
        Tokenizer.from_directory(folder)
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(RequestError, match=r"tokenizer_config\.json cannot be read"):
        Tokenizer.from_directory(folder)


TEXTS = [
    "Hello world, how are you?",
    "<s>Hello\nworld</s>more text</s> x",
    "naïve café 日本 🙂",
    "  two  spaces ",
    "",
]


@pytest.mark.parametrize("name", ["tokenizers/llama2", "models/stories260K"])
def test_sentencepiece_model_alone_gives_the_same_ids(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    source = shared_data / name
    whole = Tokenizer.from_directory(source)
    alone = Tokenizer.from_directory(
        copy(source, tmp_path / "m", "tokenizer.model", "tokenizer_config.json")
    )
    assert alone.size == whole.size
    assert alone.special_ids == whole.special_ids
    for text in TEXTS:
        assert alone.encode(text) == whole.encode(text)
        assert alone.decode(alone.encode(text)) == whole.decode(whole.encode(text))


def test_damaged_and_inconvertible_sentencepiece_models_are_refused(tmp_path: Path) -> None:
    import sentencepiece

    (tmp_path / "tokenizer.model").write_bytes(b"nothing of the kind")
    with pytest.raises(RequestError, match=r"tokenizer\.model cannot be read"):
        Tokenizer.from_directory(tmp_path)
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["the quick brown fox jumps over the lazy dog"] * 20),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="unigram",
        vocab_size=30,
        minloglevel=2,
    )
    with pytest.raises(RequestError, match="cannot be converted exactly"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize(
    ("probe", "name"),
    [
        ("llama-spm", "llama2"),
        ("phi-3", "phi3_mini"),
        ("gpt-2", "gpt2"),
        ("qwen2", "qwen2.5"),
    ],
)
def test_ids_are_those_that_llama_cpp_is_known_to_give(
    shared_data: Path, probe: str, name: str
) -> None:
    tokenizer = Tokenizer.from_directory(shared_data / "tokenizers" / name)
    file = shared_data / "tokenizers" / "probes" / f"ggml-vocab-{probe}.gguf"
    texts = Path(f"{file}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    expected = Path(f"{file}.out").read_text(encoding="utf-8").splitlines()
    for text, ids in zip(texts, expected, strict=False):
        assert tokenizer.encode(text) == [int(i) for i in ids.split()]
