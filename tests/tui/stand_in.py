"""A stand-in for the ``edgetune`` program: same flags, same files, no model.

Training counts steps and writes events, export writes a report and a file, serve repeats the
last message word by word. How it behaves follows from the arguments alone:

- a data file named ``bad.jsonl`` is refused, as rows that cannot be read are
- one named ``large.jsonl`` takes its time, and says so
- a run with a file ``changed`` in its folder cannot be resumed
- ``train.epochs`` is the number of steps divided by ten; each takes 10 ms
- a question with ``slow`` in it is answered without end
- ``data`` is the real command: it needs no model
- a GGUF named ``broken.gguf`` cannot be served
"""

import argparse
import json
import math
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgetune import config as settings
from edgetune import events, runs
from edgetune.cli import main as program


def fail(message: str, code: int) -> None:
    print(f"edgetune: {message}", file=sys.stderr)
    sys.exit(code)


def train(options: argparse.Namespace) -> None:
    stop = False

    def request_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, request_stop)
    folder = Path(options.runs_dir)
    if options.resume:
        run = runs.open_run(options.resume, folder)
        config = run.config()
        if (run.path / "changed").exists():
            fail("The run cannot be resumed: its data changed. Put it back.", 2)
    else:
        config = settings.build(settings.read_yaml(Path(options.config)), options.config)
        for file in (source.path for source in config.data.train):
            if not Path(file).is_file():
                fail(f"There is no file {file}. Name one that exists.", 2)
            if file.endswith("bad.jsonl"):
                fail(f"{file}, line 3: this is not JSON. Correct the line.", 2)
            if file.endswith("large.jsonl"):
                print("reading a large file", file=sys.stderr, flush=True)
                time.sleep(60)
        run = runs.create(options.name, config, folder)
    first = max((e.step for e in run.events() if e.event == "checkpoint"), default=0) + 1
    steps = max(1, round(config.train.epochs * 10))
    with run.working():
        log = runs.EventLog(run.events_file)
        counts = {"error": 0, "warning": 3, "note": 1}
        file = str(run.report_file)
        log.append(events.DataReport(file=file, rows=88, usable=88, counts=counts))
        log.append(
            events.RunStarted(
                run=str(run.path),
                model=config.model,
                first_step=first,
                steps=steps,
                examples=80,
                validation_examples=8,
                trained_tokens_per_epoch=1000,
                trainable_parameters=12345,
                device="stand-in",
            )
        )
        step = first - 1
        while step < steps and not stop:
            step += 1
            time.sleep(0.01)
            log.append(
                events.StepDone(
                    step=step,
                    steps=steps,
                    epoch=step / 10,
                    train_loss=1 + math.exp(-step / 10),
                    gradient_norm=1.0,
                    learning_rate=1e-4,
                    trained_tokens=step * 100,
                    trained_tokens_per_second=5000.0,
                    peak_memory_bytes=1 << 28,
                    seconds_left=(steps - step) * 0.01,
                )
            )
            if step % 5 == 0:
                loss = 1.1 + math.exp(-step / 10)
                log.append(
                    events.Validated(step=step, validation_loss=loss, trained_tokens=90, best=True)
                )
        log.append(events.CheckpointSaved(step=step, path="checkpoints"))
        done = step == steps
        log.append(events.RunEnded(reason="completed" if done else "interrupted", step=step))
    if not done:
        fail(f"Stopped after step {step}; a checkpoint is saved.", 130)


def export(options: argparse.Namespace) -> None:
    run = runs.open_run(options.run, Path(options.runs_dir))
    run.export.mkdir(exist_ok=True)
    print("measuring the trained model", file=sys.stderr, flush=True)
    print("converting to GGUF", file=sys.stderr, flush=True)
    exports = []
    for kind in options.quant:
        file = run.export / f"{run.name}-{kind}.gguf"
        print(f"building {kind}", file=sys.stderr, flush=True)
        file.write_bytes(b"GGUF" * 1000)
        print(f"verifying {kind}", file=sys.stderr, flush=True)
        failed = kind == "Q2_K"
        exports.append(
            {
                "file": file.name,
                "type": kind,
                "bytes": 4000,
                "bits_per_weight": 8.5,
                "top1": 0.5 if failed else 0.999,
                "kld_mean": 0.5 if failed else 0.0001,
                "verdict": "failed" if failed else "verified",
                "reasons": ["top-1 agreement is below 0.6"] if failed else [],
            }
        )
    (run.export / "report.json").write_text(json.dumps({"exports": exports}))
    if any(item["verdict"] == "failed" for item in exports):
        fail("1 of the builds failed verification. Do not use it.", 1)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = body["messages"]
        question = messages[-1]["content"]
        if question == "refuse":
            self.send_response(400)
            self.end_headers()
            self.wfile.write(json.dumps({"error": {"message": "too long"}}).encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        system = [m["content"] for m in messages if m["role"] == "system"]
        words = [*system, f"{len(messages)}:", *question.split()]
        count = 0
        try:
            while count < len(words) or "slow" in question:
                self.say({"delta": {"content": words[count % len(words)] + " "}})
                count += 1
                time.sleep(0.01)
            self.say({"delta": {}, "finish_reason": "stop"})
            usage = {"prompt_tokens": 7, "completion_tokens": count}
            self.write({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            print("the client went away", file=sys.stderr, flush=True)

    def say(self, choice: dict[str, object]) -> None:
        self.write({"choices": [{"index": 0, **choice}]})

    def write(self, chunk: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()


def serve(options: argparse.Namespace) -> None:
    if options.file.endswith("broken.gguf"):
        fail(f"{options.file} is not a GGUF file. Export it again.", 2)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    url = f"http://127.0.0.1:{server.server_port}/v1"
    print(json.dumps({"url": url, "model": Path(options.file).stem, "context": 64}), flush=True)
    server.serve_forever()


def main() -> None:
    if sys.argv[1] == "data":
        sys.exit(program.run(sys.argv[1:]))
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    trainer = commands.add_parser("train")
    for flag in ("--config", "--runs-dir", "--name", "--resume"):
        trainer.add_argument(flag)
    trainer.set_defaults(work=train)
    exporter = commands.add_parser("export")
    exporter.add_argument("run")
    exporter.add_argument("--runs-dir")
    exporter.add_argument("--quant", action="append")
    exporter.set_defaults(work=export)
    server = commands.add_parser("serve")
    server.add_argument("file")
    server.add_argument("--port", type=int)
    server.add_argument("--json", action="store_true", required=True)
    server.set_defaults(work=serve)
    options = parser.parse_args()
    options.work(options)


if __name__ == "__main__":
    main()
