"""Real tokenizers in llama.cpp give the ids that they give in training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from edgetune.errors import RequestError
from edgetune.quantize import child
from edgetune.quantize.vocabulary import Vocabulary, read_vocabulary

# File with probe texts and expected ids -> tokenizer that it belongs to.
PROBES = {
    "llama2": "llama-spm",
    "gpt2": "gpt-2",
    "qwen2.5": "qwen2",
    "smollm3": "llama-bpe",
    "phi3_mini": "phi-3",
}
PRE = {"gpt2": "gpt-2", "minimind": "gpt-2", "qwen2.5": "qwen2", "smollm3": "llama-bpe"}


def ask_llama_cpp(vocabulary: Vocabulary, texts: list[str], folder: Path) -> dict[str, Any]:
    """What llama.cpp says about a file that holds this vocabulary and no weights."""
    file = folder / "vocabulary.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    vocabulary.write(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    request = {"gguf": str(file), "sequences": 0, "texts": texts, "prompts": []}
    outcome = child.run("edgetune.quantize.predict", request, folder)
    assert outcome.answer is not None, outcome.failure
    return outcome.answer


def probes(shared_data: Path, name: str) -> tuple[list[str], list[list[int]]]:
    folder = shared_data / "tokenizers" / "probes"
    stem = folder / f"ggml-vocab-{PROBES[name]}.gguf"
    texts = Path(f"{stem}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    lines = Path(f"{stem}.out").read_text(encoding="utf-8").split("\n")
    return texts, [[int(token) for token in line.split()] for line in lines]


@pytest.mark.parametrize("name", PROBES)
def test_published_probes_agree(shared_data: Path, tmp_path: Path, name: str) -> None:
    texts, expected = probes(shared_data, name)
    vocabulary = read_vocabulary(shared_data / "tokenizers" / name)
    answer = ask_llama_cpp(vocabulary, texts, tmp_path)
    assert len(texts) == 47
    assert answer["ids"] == expected
    assert vocabulary.pre == PRE.get(name, "default")


@pytest.mark.parametrize("alone", ["tokenizer.json", "tokenizer.model"])
def test_sentencepiece_agrees_from_either_file_alone(
    shared_data: Path, tmp_path: Path, alone: str
) -> None:
    texts, expected = probes(shared_data, "llama2")
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    shutil.copy(shared_data / "tokenizers" / "llama2" / alone, folder)
    answer = ask_llama_cpp(read_vocabulary(folder), texts, tmp_path)
    assert answer["ids"] == expected


def test_chat_tokens_and_code_agree_with_training(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "tokenizers" / "minimind"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [
        "<|im_start|>user\nWhat is 12345 + 678?<|im_end|>\n<|im_start|>assistant\n",
        "def f(x):\n\treturn x  # don't\r\n\r\n",
        "<think>\n\n</think>\n你好，世界！ naïve 🙂",
    ]
    answer = ask_llama_cpp(read_vocabulary(folder), texts, tmp_path)
    assert answer["ids"] == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.fixture(scope="module")
def own_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer with chat tokens and the settings of an instruct model."""
    folder = tmp_path_factory.mktemp("own")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|stop|>", "<|halt|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat and the dog and the end of the day"], trainer)
    tokenizer.add_tokens([AddedToken("[tool]", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0, 1]}))
    return folder


def test_every_end_token_of_a_model_ends_the_generation(
    own_tokenizer: Path, tmp_path: Path
) -> None:
    vocabulary = read_vocabulary(own_tokenizer)
    assert vocabulary.special == {"eos": 2, "eot": 0, "eom": 1}
    answer = ask_llama_cpp(vocabulary, [], tmp_path)
    assert answer["ends"] == [0, 1, 2]
    assert answer["eos"] == 2


def test_rows_beyond_the_vocabulary_become_unused_tokens(
    own_tokenizer: Path, tmp_path: Path
) -> None:
    vocabulary = read_vocabulary(own_tokenizer)
    size = len(vocabulary.tokens)
    vocabulary.pad(size + 3, tmp_path)
    assert vocabulary.tokens[-1] == f"[PAD{size + 2}]"
    assert vocabulary.types[-1] == gguf.TokenType.UNUSED
    answer = ask_llama_cpp(vocabulary, ["[tool] the[tool]"], tmp_path)
    assert len(answer["texts"]) == size + 3
    assert answer["ids"][0].count(vocabulary.tokens.index("[tool]")) == 2
    with pytest.raises(RequestError, match="embedding rows"):
        vocabulary.pad(size, tmp_path)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=40, max_size=40))
def test_any_text_agrees_for_a_byte_fallback_tokenizer(
    tiny_model: Path, tmp_path: Path, texts: list[str]
) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    texts = [text.replace("\0", "") or "a" for text in texts]
    answer = ask_llama_cpp(read_vocabulary(tiny_model), texts, tmp_path)
    assert answer["ids"] == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def _spoil(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["model"].update(type="Unigram"), "of the type Unigram"),
        (lambda d: d.update(normalizer={"type": "Lowercase"}), "normalizer Lowercase"),
        (lambda d: d.update(normalizer=None), "neither a byte-level nor a SentencePiece"),
        (
            lambda d: d.update(
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [
                        {
                            "type": "Split",
                            "pattern": {"Regex": "[a-z]+"},
                            "behavior": "Isolated",
                            "invert": False,
                        },
                        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                    ],
                }
            ),
            r"no pre-tokenizer that splits text like this one: \[a-z\]\+",
        ),
        (
            lambda d: d["added_tokens"].append({"id": 9, "content": "<s>", "special": True}),
            "'<s>' has two ids",
        ),
    ],
)
def test_tokenizers_that_llama_cpp_cannot_reproduce_are_refused(
    model_copy: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    _spoil(model_copy, change)
    with pytest.raises(RequestError, match=message) as caught:
        read_vocabulary(model_copy)
    assert "tokenizer.json" in caught.value.message


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="neither tokenizer"):
        read_vocabulary(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"\xff\xff\xff")
    with pytest.raises(RequestError, match="not a SentencePiece model"):
        read_vocabulary(tmp_path)
