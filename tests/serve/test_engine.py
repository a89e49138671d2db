"""The engine: prompts as trained, stops, whole characters, exact sampling, clear refusals."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgetune
from edgetune import runs
from edgetune.config import RunConfig
from edgetune.data.template import prompt_ids
from edgetune.data.templates.builtin import choose_template
from edgetune.data.tokenizer import Tokenizer
from edgetune.errors import EdgetuneError, RequestError
from edgetune.quantize.convert import convert
from edgetune.serve.engine import (
    Engine,
    Piece,
    PromptTooLong,
    find_gguf,
)
from edgetune.serve.sampling import Sampling, json_grammar

GREEDY = Sampling(temperature=0)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def engine(scripted: Path) -> Engine:
    return Engine(scripted, threads=1)


@pytest.fixture(scope="module")
def random_engine(random_gguf: Path) -> Engine:
    return Engine(random_gguf, threads=1)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("a", "bcd"), ("1", "234"), ("e", "€"), ("k", "abcd")],
    ids=["eos", "eot", "bytes", "control token inside"],
)
def test_an_answer_ends_at_an_end_token_and_holds_no_control_text(
    engine: Engine, asked: str, answer: str
) -> None:
    result = engine.complete(user(asked), GREEDY)
    assert (result.text, result.finish_reason) == (answer, "stop")
    assert result.prompt_tokens == 2


def test_a_character_comes_whole_or_not_at_all(engine: Engine) -> None:
    pieces = list(engine.stream(user("e"), GREEDY))
    assert [piece.text for piece in pieces] == ["", "", "€", ""]
    assert [piece.token_id is None for piece in pieces] == [False, False, False, True]
    assert engine.complete(user("e"), Sampling(temperature=0, max_tokens=2)).text == ""
    assert engine.complete(user("f"), GREEDY).text == ""


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        (("c",), "b", "stop"),
        (("cd",), "b", "stop"),
        (("zz", "bcd"), "", "stop"),
        (("cx", "dd"), "bcd", "stop"),
        (("d", "bc"), "", "stop"),
    ],
)
def test_stop_texts_may_span_tokens_and_never_appear(
    engine: Engine, stop: tuple[str, ...], text: str, reason: str
) -> None:
    answer = engine.complete(user("a"), Sampling(temperature=0, stop=stop))
    assert (answer.text, answer.finish_reason) == (text, reason)


def test_text_that_could_begin_a_stop_text_is_held_back_until_it_is_certain(
    engine: Engine,
) -> None:
    sampling = Sampling(temperature=0, stop=("yxyz",), max_tokens=5)
    texts = [piece.text for piece in engine.stream(user("x"), sampling)]
    assert texts == ["", "", "", "yx", "", "yxy"]


def test_max_tokens_and_a_full_context_end_an_answer(engine: Engine) -> None:
    short = engine.complete(user("x"), Sampling(temperature=0, max_tokens=4))
    assert (short.text, short.finish_reason, short.completion_tokens) == ("yxyx", "length", 4)
    full = engine.complete(user("x"), GREEDY)
    assert full.finish_reason == "length"
    assert full.prompt_tokens + full.completion_tokens == engine.context == 512


def test_a_prompt_that_leaves_no_room_is_refused(engine: Engine) -> None:
    assert engine.complete(user("x" * 510), GREEDY).completion_tokens == 1
    with pytest.raises(PromptTooLong, match="512 tokens"):
        engine.complete(user("x" * 511), GREEDY)


@pytest.mark.parametrize(
    ("template", "add_bos", "first"),
    [
        ("{{ bos_token }}{{ messages[0]['content'] }}", True, ["<s>", "a"]),
        ("{{ bos_token }}{{ messages[0]['content'] }}", False, ["<s>", "a"]),
        ("{{ messages[0]['content'] }}", True, ["<s>", "a"]),
        ("{{ messages[0]['content'] }}", False, ["a"]),
        (None, True, ["<s>", "a", "\n"]),
        (None, False, ["<s>", "a", "\n"]),
    ],
)
def test_the_prompt_has_at_most_one_bos(
    write_gguf: Callable[..., Path],
    tmp_path: Path,
    template: str | None,
    add_bos: bool,
    first: list[str],
) -> None:
    file = write_gguf(tmp_path / "m.gguf", template=template, add_bos=add_bos)
    with Engine(file, threads=1) as engine:
        ids = engine.prompt_ids(user("a"))
        assert [engine._model.text_of(token) for token in ids] == first


def test_special_tokens_of_the_template_are_parsed_and_those_of_a_message_are_text(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    template = "<|mark|>{{ messages[0]['content'] }}<|end|>"
    with Engine(write_gguf(tmp_path / "m.gguf", template=template), threads=1) as engine:
        assert engine.prompt_ids(user("a"))[1] == 4
        assert engine.prompt_ids(user("a"))[-1] == 3
        ids = engine.prompt_ids(user("a<|end|>b<|mark|>"))
        assert [ids[1], ids[-1]] == [4, 3]
        assert not set(ids[2:-1]) & {0, 1, 2, 3, 4}
        assert b"".join(engine._model.piece(i) for i in ids[2:-1]) == b"a<|end|>b<|mark|>"


def test_a_base_model_gets_the_plain_template_with_a_note(plain: Path) -> None:
    with Engine(plain, threads=1) as engine:
        assert "plain template" in engine.note
        assert engine.complete(user("a"), GREEDY).text == "hi"
        two = [*user("a"), {"role": "assistant", "content": "hi"}, *user("b")]
        ids = engine.prompt_ids(two)
        texts = [engine._model.text_of(token) for token in ids]
        assert texts == ["<s>", "a", "\n", "▁", "h", "i", "</s>", "b", "\n"]


def test_temperature_0_takes_the_most_likely_token(random_engine: Engine) -> None:
    ids = random_engine.prompt_ids(user("abc"))
    answer = [
        p.token_id for p in random_engine.generate(ids, Sampling(temperature=0, max_tokens=8))
    ]
    for token in answer[:-1]:
        random_engine._model.prefill(ids)
        # Computed afresh, not token by token: the same but for the last bits.
        logits = random_engine._model.logits()
        assert logits[token] >= logits.max() - 0.1
        ids.append(int(token or 0))


def test_a_seed_repeats_an_answer_and_none_does_not(random_engine: Engine) -> None:
    def ask(seed: int | None) -> str:
        sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, max_tokens=30, seed=seed)
        return random_engine.complete(user("abc"), sampling).text

    assert ask(1) == ask(1) == ask(1 + 0xFFFFFFFF)
    assert len({ask(1), ask(2), ask(None), ask(None)}) == 4


def test_sampling_follows_the_model_s_probabilities(random_engine: Engine) -> None:
    ids = random_engine.prompt_ids(user("abc"))
    random_engine._model.prefill(ids)
    logits = random_engine._model.logits().astype(np.float64)
    likely = np.argsort(-logits)[:3]
    wanted = np.exp(logits[likely] - logits[likely].max())
    wanted /= wanted.sum()
    counts = dict.fromkeys(map(int, likely), 0)
    for seed in range(600):
        sampling = Sampling(1.0, top_k=3, top_p=1, min_p=0, max_tokens=1, seed=seed)
        piece = next(random_engine.generate(ids, sampling))
        counts[int(piece.token_id or -1)] += 1
    seen = np.array([counts[int(token)] for token in likely]) / 600
    assert np.abs(seen - wanted).max() < 0.07


def test_penalties_change_what_would_repeat(engine: Engine) -> None:
    # Without them the cycle has no end; all other tokens, end tokens among them, have logit 0.
    sampling = Sampling(temperature=0, presence_penalty=2.0, frequency_penalty=2.0)
    answer = engine.complete(user("x"), sampling)
    assert answer.text.startswith("yxyx")
    assert answer.finish_reason == "stop"


def test_an_answer_does_not_depend_on_what_was_asked_before(random_engine: Engine) -> None:
    def logits(text: str) -> np.ndarray:
        random_engine._model.prefill(random_engine.prompt_ids(user(text)))
        return random_engine._model.logits().copy()

    long = "abcdefgh" * 90
    fresh = logits(long)
    assert len(random_engine._model._chunks) == 512
    assert (logits(long) == fresh).all()  # two chunks kept
    list(random_engine.stream(user(long + "xyz"), Sampling(max_tokens=40)))
    assert (logits(long) == fresh).all()  # behind another end and an answer
    assert (logits(long[:600]) == logits(long[:600])).all()
    stopped = random_engine.stream(user("b" * 300), Sampling(max_tokens=40))
    next(stopped)
    stopped.close()
    assert (logits(long) == fresh).all()  # after an answer that was given up


def test_cancelling_ends_the_answer_after_the_token_in_work(engine: Engine) -> None:
    cancelled = threading.Event()
    pieces = []
    for piece in engine.stream(user("x"), GREEDY, cancelled):
        pieces.append(piece)
        if len(pieces) == 3:
            cancelled.set()
    assert [piece.text for piece in pieces[:3]] == ["y", "x", "y"]
    assert pieces[3:] == [Piece("", None, "cancelled")]
    assert list(engine.stream(user("x"), GREEDY, cancelled)) == [Piece("", None, "cancelled")]
    assert engine.complete(user("a"), GREEDY).text == "bcd"


def test_a_grammar_is_followed(random_engine: Engine) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    sampling = Sampling(seed=3, grammar=json_grammar(schema), max_tokens=100)
    answer = random_engine.complete(user("a"), sampling)
    assert answer.finish_reason == "stop"
    assert answer.text.replace(" ", "") in ('{"a":true}', '{"a":false}')


def test_a_grammar_that_the_vocabulary_cannot_write_is_refused(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    tokens = ["<unk>", "<s>", "</s>", "<|end|>", "<|mark|>", *"abcdxyefkhi1234▁\n"]
    tokens += ["<0xE2>", "<0x82>", "<0xAC>", "<0xF0>", "<0x9F>"]
    with Engine(write_gguf(tmp_path / "m.gguf", tokens=tokens), threads=1) as engine:
        with pytest.raises(RequestError, match="cannot write"):
            engine.complete(user("a"), Sampling(grammar=json_grammar()))
        assert engine.complete(user("a"), GREEDY).text == "bcd"


@pytest.mark.parametrize("schema", [{"$ref": "https://example.com/a.json"}, {"type": "horse"}])
def test_a_schema_that_cannot_be_followed_is_refused(schema: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="JSON schema"):
        json_grammar(schema)


def test_what_the_template_refuses_is_a_request_error(engine: Engine) -> None:
    with pytest.raises(RequestError, match="no tools here"):
        engine.prompt_ids([{"role": "tool", "content": "a"}])
    with pytest.raises(RequestError, match="surrogate"):
        engine.prompt_ids(user("\ud800"))


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_k": -1},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"repeat_penalty": 0},
    ],
)
def test_values_that_cannot_be_sampled_with_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=next(iter(field))):
        Sampling(**field)  # type: ignore[arg-type]


def test_no_file_and_no_gguf_and_cut_files_are_refused_before_llama_cpp(
    scripted: Path, tmp_path: Path
) -> None:
    data = scripted.read_bytes()
    for name, content, said in [
        ("empty", b"", "no GGUF"),
        ("text", b"hello there", "no GGUF"),
        ("magic", data[:4], "damaged"),
        ("header", data[:2000], "damaged"),
        ("half", data[: len(data) // 2], "cut short"),
        ("almost", data[:-1], "1 bytes"),
        ("version", data[:4] + b"\x63" + data[5:], "version 99"),
    ]:
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(RequestError, match=said):
            Engine(file)
    with pytest.raises(RequestError, match="No such file"):
        Engine(tmp_path / "none")
    with pytest.raises(RequestError, match="directory"):
        Engine(tmp_path)


def test_a_token_twice_in_the_vocabulary_is_refused(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "m.gguf", last_token="a")
    with pytest.raises(RequestError, match="'a' more than once"):
        Engine(file)


def test_weights_that_are_not_numbers_are_reported(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    with (
        Engine(write_gguf(tmp_path / "m.gguf", poison=True), threads=1) as engine,
        pytest.raises(EdgetuneError, match="NaN"),
    ):
        engine.complete(user("a"))


def test_a_missing_tensor_is_llama_cpp_s_error_in_ours_and_nothing_on_stderr(
    write_gguf: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes().replace(b"blk.0.attn_q.weight", b"blk.0.attn_z.weight"))
    with pytest.raises(EdgetuneError, match=r"tensor 'blk\.0\.attn_q\.weight' not found"):
        Engine(file)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_damaged_template_is_refused(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="template"):
        Engine(write_gguf(tmp_path / "m.gguf", template="{% if %}"), threads=1)


def test_the_context_is_the_model_s_own_up_to_8192(
    write_gguf: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "m.gguf", context=20000)
    with Engine(file, threads=1) as engine:
        assert engine.context == 8192
    with Engine(file, context=300, threads=1) as engine:
        assert engine.context == 300
        assert engine.complete(user("x"), GREEDY).completion_tokens == 298
    with pytest.raises(RequestError, match="20001"):
        Engine(file, context=20001)


def test_a_closed_model_says_so(scripted: Path) -> None:
    engine = Engine(scripted, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EdgetuneError, match="closed"):
        engine.complete(user("a"))
    with pytest.raises(EdgetuneError, match="closed"):
        list(engine.generate([1]))


CONVERSATION = [
    {"role": "system", "content": "Be  brief.\n"},
    {"role": "user", "content": " What colour is the sky? é — 漢字 🎉\n\n"},
    {"role": "assistant", "content": " The sky is blue. "},
    {"role": "user", "content": "Name three."},
]


@pytest.mark.parametrize("exported", [False, True], ids=["no template", "as exported"])
def test_the_prompt_is_the_one_of_training(
    tiny_model: Path, tmp_path: Path, exported: bool
) -> None:
    tokenizer = Tokenizer.from_directory(tiny_model)
    template = choose_template(tokenizer, "auto")
    file = tmp_path / "tiny.gguf"
    convert(tiny_model, file, "f32", chat_template=template.source if exported else None)
    with Engine(file) as engine:
        for messages in (CONVERSATION[1:2], CONVERSATION):
            assert engine.prompt_ids(messages) == prompt_ids(messages, tokenizer, template)


def test_load_is_the_engine(scripted: Path) -> None:
    with edgetune.load(scripted) as engine:
        assert engine.name == "scripted"
        assert engine.complete(user("a"), GREEDY).text == "bcd"


def test_a_run_means_its_newest_export(scripted: Path, tmp_path: Path) -> None:
    run = runs.create("first", RunConfig(model="nano"), tmp_path)
    with pytest.raises(RequestError, match="edgetune export first"):
        find_gguf("first", tmp_path)
    run.export.mkdir()
    newest = run.export / "b.gguf"
    newest.write_bytes(b"")
    assert find_gguf("first", tmp_path) == newest
    assert find_gguf(str(scripted), tmp_path) == scripted
    with pytest.raises(RequestError, match="no file"):
        find_gguf("none.gguf", tmp_path)
    with pytest.raises(RequestError, match="no run `other`"):
        find_gguf("other", tmp_path)
