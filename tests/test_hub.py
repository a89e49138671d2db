"""Models are found without the network where they can be, and never taken when damaged."""

import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgetune import hub, paths
from edgetune.errors import RequestError

NAME = "someone/small-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def safetensors(**sizes: int) -> bytes:
    """A safetensors file of byte tensors with these names and lengths."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, size in sizes.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(start)


def model_files() -> dict[str, bytes]:
    """A model in two shards; the smallest that passes for one."""
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    return {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors.index.json": json.dumps({"weight_map": places}).encode(),
        places["a"]: safetensors(a=64),
        places["b"]: safetensors(b=32),
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in model_files().items():
        (folder / name).write_bytes(content)
    return folder


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub: it answers what ``snapshot_download`` asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {**model_files(), "pytorch_model.bin": b"x", "onnx/config.json": b"{}"}
        self.status = 200
        self.sent: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.0"  # one request a connection: a stopped server is gone

    def do_GET(self) -> None:
        if self.server.status != 200:
            codes = {404: "RepoNotFound", 403: "GatedRepo"}
            self.reply(b"", self.server.status, {"X-Error-Code": codes[self.server.status]})
        elif self.path.startswith(f"/api/models/{NAME}/tree/"):
            files = self.server.files.items()
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": self.tag(content)}
                for name, content in files
            ]
            self.reply(json.dumps(entries).encode())
        elif self.path.startswith(f"/api/models/{NAME}"):
            self.reply(json.dumps({"id": NAME, "sha": COMMIT, "siblings": []}).encode())
        else:
            name = self.path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")
            content = self.server.files[name]
            if self.command == "GET":
                self.server.sent.append(name)
            self.reply(content, 200, {"ETag": self.tag(content), "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET

    @staticmethod
    def tag(content: bytes) -> str:
        return hashlib.sha1(content).hexdigest()

    def reply(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
        server.shutdown()


def cut(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def lengthen(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")


def cut_header(folder: Path) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:20])


def garble(folder: Path) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(struct.pack("<Q", 5) + b"hello" + bytes(100))


def drop_tensor(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_bytes(safetensors(other=64))


def lose(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def break_json(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text('{"a": 1,\n "b": }')

    return damage


def test_a_whole_model_directory_is_taken(model: Path) -> None:
    assert hub.resolve_model(str(model)) == model


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (cut, "model-00002-of-00002.safetensors is cut short"),
        (lengthen, "model-00002-of-00002.safetensors is damaged"),
        (cut_header, "model-00001-of-00002.safetensors is cut short"),
        (garble, "model-00001-of-00002.safetensors is not a safetensors file"),
        (drop_tensor, "model-00001-of-00002.safetensors lacks the tensor `a`"),
        (lose("model-00001-of-00002.safetensors"), "model-00001-of-00002.safetensors is missing"),
        (lose("config.json"), "config.json"),
        (lose("tokenizer.json"), "no tokenizer"),
        (break_json("config.json"), "config.json, line 2, is not valid JSON"),
        (break_json("tokenizer.json"), "tokenizer.json, line 2"),
        (break_json("model.safetensors.index.json"), "model.safetensors.index.json, line 2"),
    ],
)
def test_a_damaged_model_is_refused_by_the_name_of_the_file(
    model: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(model)
    with pytest.raises(RequestError) as refusal:
        hub.resolve_model(str(model))
    assert named in refusal.value.message
    assert refusal.value.hint


def test_a_single_weights_file_is_checked_without_an_index(model: Path) -> None:
    for file in model.glob("model*"):
        file.unlink()
    with pytest.raises(RequestError, match="no weights"):
        hub.check_model(model)
    (model / "model.safetensors").write_bytes(safetensors(a=8)[:-1])
    with pytest.raises(RequestError, match=r"model\.safetensors is cut short"):
        hub.check_model(model)


@pytest.mark.parametrize("name", ["./missing", "/no/such/model", "missing", "a/b/c", "~/missing"])
def test_a_missing_directory_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(RequestError, match="There is no model directory"):
        hub.resolve_model(name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(RequestError, match="is a file"):
        hub.resolve_model(str(file))


def test_the_embedded_model_needs_no_network(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "NANO_MODEL", model)
    monkeypatch.setattr(hub, "_import_hub", None)
    assert hub.resolve_model("nano") == model


def test_a_pulled_model_is_whole_and_needs_no_network_afterwards(server: Hub) -> None:
    path = hub.resolve_model(NAME)
    assert {file.name for file in path.iterdir()} == set(model_files())
    assert set(server.sent) == set(model_files())  # neither other formats nor other folders

    server.shutdown()
    server.server_close()
    assert hub.resolve_model(NAME) == path
    assert NAME in [model.name for model in hub.list_models()]


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Hub) -> None:
    path = hub.pull(NAME)
    file = path / "model-00001-of-00002.safetensors"
    file.resolve().write_bytes(file.read_bytes()[:-1])
    server.sent.clear()
    assert hub.resolve_model(NAME) == path
    assert server.sent == [file.name]


def test_a_damaged_file_is_named_when_there_is_no_network(server: Hub) -> None:
    cut_file = hub.pull(NAME) / "model-00001-of-00002.safetensors"
    cut_file.resolve().write_bytes(cut_file.read_bytes()[:-1])
    server.shutdown()
    server.server_close()
    with pytest.raises(RequestError, match=r"model-00001-of-00002\.safetensors is cut short"):
        hub.resolve_model(NAME)


def test_no_network_is_one_clear_sentence(server: Hub) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(RequestError) as refusal:
        hub.resolve_model(NAME)
    assert "is not on this machine and could not be downloaded" in refusal.value.message
    assert "\n" not in str(refusal.value)
    assert "Errno" not in str(refusal.value)


@pytest.mark.parametrize(("status", "words"), [(404, "no such model"), (403, "agreement")])
def test_the_hubs_refusal_is_explained(server: Hub, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(RequestError, match=words):
        hub.resolve_model(NAME)


def test_a_removed_model_is_gone(server: Hub) -> None:
    path = hub.pull(NAME)
    assert hub.remove_model(NAME) > 0
    assert not path.exists()
    with pytest.raises(RequestError, match="no model"):
        hub.remove_model(NAME)
    with pytest.raises(RequestError, match="part of edgetune"):
        hub.remove_model("nano")
