"""The server, as the official OpenAI client and other programs on this machine see it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest


@contextmanager
def serving(file: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``edgetune serve`` on a free port: the process and its base URL."""
    command = [sys.executable, "-m", "edgetune", "serve", str(file), "--port", "0"]
    command += options
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        try:
            yield process, line
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(endless: Path) -> Iterator[str]:
    with serving(endless, "--context", "32768") as (_, line):
        yield line


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)


def ask(client: openai.OpenAI, text: str, **options: Any) -> Any:
    return client.chat.completions.create(
        model="endless", messages=[{"role": "user", "content": text}], temperature=0, **options
    )


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert model.id == "endless"
    assert model.context_length == 32768
    assert client.models.retrieve("endless").owned_by == "edgetune"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_health_names_the_model(url: str) -> None:
    answer = httpx.get(url.removesuffix("/v1") + "/health")
    assert answer.json() == {"status": "ok", "model": "endless", "context": 32768}


def test_an_answer_with_its_usage(client: openai.OpenAI) -> None:
    answer = ask(client, "a", user="someone", metadata={"a": "b"}, store=False, n=1)
    [choice] = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "bcd"
    assert choice.finish_reason == "stop"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (2, 3, 5)


def test_a_stream_is_the_same_answer_in_pieces(client: openai.OpenAI) -> None:
    chunks = list(ask(client, "e", stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text for text in texts if text) == "€"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3
    without = list(ask(client, "a", stream=True))
    assert [c.choices[0].delta.content for c in without] == ["", "b", "c", "d", None]
    assert len({chunk.id for chunk in without}) == 1


def test_stop_texts_and_limits(client: openai.OpenAI) -> None:
    assert ask(client, "a", stop="c").choices[0].message.content == "b"
    assert ask(client, "a", stop=["zz", "d"]).choices[0].message.content == "bc"
    for limit in ("max_tokens", "max_completion_tokens"):
        [choice] = ask(client, "x", **{limit: 4}).choices
        assert (choice.message.content, choice.finish_reason) == ("yxyx", "length")


def test_roles_and_text_parts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="endless",
        messages=[
            {"role": "developer", "content": "q"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c", "refusal": None},
            {
                "role": "user",
                "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "a"}],
            },
        ],
    )
    assert answer.choices[0].message.content == "bcd"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(["<s>", *"[q]", "b", "c", "</s>", "b", "a"])


def test_a_schema_is_followed(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["b", "c"]}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    text = ask(client, "a", response_format=wanted, max_tokens=100).choices[0].message.content
    assert json.loads(text)["a"] in ("b", "c")
    text = ask(client, "a", response_format={"type": "json_object"}, max_tokens=9)
    assert text.choices[0].message.content.startswith("{")
    assert ask(client, "a", response_format={"type": "text"}).choices[0].message.content == "bcd"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"extra_body": {"mirostat": 2}}, "mirostat"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"seed": "one"}, "seed"),
        ({"frequency_penalty": 3}, None),
        ({"max_tokens": 0}, None),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "a", **options)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert next(iter(options)) in caught.value.message or param in caught.value.message


def test_neutral_values_are_accepted(client: openai.OpenAI) -> None:
    answer = ask(
        client,
        "a",
        logprobs=False,
        tools=[],
        logit_bias={},
        frequency_penalty=0,
        presence_penalty=0,
        seed=7,
        stop=None,
        parallel_tool_calls=True,
        extra_body={"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1},
    )
    assert answer.choices[0].message.content == "bcd"


def test_errors_have_their_status_and_openai_s_form(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="only `endless`") as missing:
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])
    assert missing.value.code == "model_not_found"
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="context holds 32768") as long:
            ask(client, "a" * 40000, stream=stream)
        assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="schema"):
        schema = {"name": "x", "schema": {"type": "horse"}}
        ask(client, "a", response_format={"type": "json_schema", "json_schema": schema})
    completions = f"{url}/chat/completions"
    for body, said in [
        (b"{", "not valid JSON"),
        (b"[]", "The request"),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "wizard", "content": "a"}]}', "messages.0.role"),
        (b'{"messages": [{"role": "user"}]}', "messages.0.content"),
        (b'{"messages": [{"role": "user", "content": "a", "tool_calls": [1]}]}', "tool_calls"),
        (b"\xff\xfe", "not valid JSON"),
    ]:
        answer = httpx.post(completions, content=body)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
    assert httpx.get(f"{url}/nothing").status_code == 404
    assert httpx.get(completions).status_code == 405
    assert "message" in httpx.get(completions).json()["error"]


def test_web_pages_from_elsewhere_are_refused(url: str) -> None:
    for headers in ({"Origin": "https://example.com"}, {"Host": "example.com"}):
        assert httpx.get(f"{url}/models", headers=headers).status_code == 403
    for headers in ({"Origin": "http://localhost:3000"}, {"Host": "localhost"}):
        assert httpx.get(f"{url}/models", headers=headers).status_code == 200


def test_a_client_that_leaves_ends_its_answer(client: openai.OpenAI) -> None:
    # Unless the endless answers end at once, the one behind them waits for many seconds.
    stream = ask(client, "x", stream=True)
    for _, chunk in zip(range(5), stream, strict=False):
        assert chunk.choices
    stream.close()
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.3), "x")
    start = time.perf_counter()
    assert ask(client, "a").choices[0].message.content == "bcd"
    assert time.perf_counter() - start < 4


def test_a_client_that_leaves_while_it_waits_is_never_answered(client: openai.OpenAI) -> None:
    first = ask(client, "x", stream=True)
    next(iter(first))
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.3), "x", stream=True)
    first.close()
    start = time.perf_counter()
    assert ask(client, "a").choices[0].message.content == "bcd"
    assert time.perf_counter() - start < 4


def test_several_clients_are_answered_one_after_another(client: openai.OpenAI) -> None:
    answers: list[str] = []

    def one(text: str) -> None:
        answers.append(ask(client, text, max_tokens=500).choices[0].message.content)

    threads = [threading.Thread(target=one, args=(text,)) for text in "axaxae"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted(["bcd", "bcd", "bcd", "yx" * 250, "yx" * 250, "€"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_the_answer_in_progress(
    endless: Path, number: signal.Signals
) -> None:
    with serving(endless, "--json", "--context", "32768") as (process, line):
        about = json.loads(line)
        assert about["model"] == "endless"
        assert about["context"] == 32768
        client = openai.OpenAI(base_url=about["url"], api_key="none", max_retries=0)
        stream = ask(client, "x", stream=True)
        next(iter(stream))
        os.kill(process.pid, number)
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
        client.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_said(endless: Path, url: str) -> None:
    port = url.removesuffix("/v1").rpartition(":")[2]
    command = [sys.executable, "-m", "edgetune", "serve", str(endless), "--port", port]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert f"Port {port}" in result.stderr
    assert result.stdout == ""
