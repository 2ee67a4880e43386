"""vLLM's own server in a process of its own, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUIET = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "TOKENIZERS_PARALLELISM": "false",
    "VLLM_HOST_IP": "127.0.0.1",
}  # fmt: skip
MAX_LORAS = 16


def environment(store: Path, **more: str) -> dict[str, str]:
    """Of a vLLM that serves a store."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | QUIET | {"NOLAKIT_STORE": str(store)} | more


@dataclass(frozen=True)
class Answer:
    """Of the server: the status, the tokens of a completion, and the seconds it took."""

    status: int
    ids: tuple[int, ...]
    seconds: float
    text: str


class Server:
    """Starts in the constructor, which returns when it answers; ends with the block.

    Raises RuntimeError, with the end of the log, where it ends before.
    """

    def __init__(self, python: Path, base: Path, log: Path, env: dict[str, str], *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}", log
        command = [
            str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(base), 
            "--served-model-name", "base",
            "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "256",
            "--max-num-seqs", "16", "--enforce-eager", "--enable-lora", "--max-loras", str(MAX_LORAS),
            "--max-cpu-loras", str(MAX_LORAS), "--max-lora-rank", "16", *options,
        ]  # fmt: skip
        started = time.monotonic()
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True, cwd=log.parent
            )
        while not self.healthy():
            if self.process.poll() is not None or time.monotonic() - started > 600:
                self.close()
                raise RuntimeError(f"vLLM did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        self.start_seconds = time.monotonic() - started

    def healthy(self) -> bool:
        """Whether the server says that its engine lives."""
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=10) as response:
                return response.status == 200
        except OSError:
            return False

    def complete(self, model: str, prompt: Sequence[int], tokens: int) -> Answer:
        """Greedy tokens of an adapter, or of `base`."""
        body = {
            "model": model, "prompt": list(prompt), "max_tokens": tokens, "temperature": 0.0, "ignore_eos": True,
            "return_token_ids": True,
        }  # fmt: skip
        started = time.perf_counter()
        status, text = self.post("/v1/completions", body)
        seconds = time.perf_counter() - started
        ids = tuple(json.loads(text)["choices"][0]["token_ids"]) if status == 200 else ()
        return Answer(status, ids, seconds, text)

    def complete_all(
        self, models: Sequence[str], prompts: Sequence[Sequence[int]], tokens: int
    ) -> list[Answer]:
        """As `complete`, sixteen at once."""
        with ThreadPoolExecutor(16) as threads:
            return list(threads.map(self.complete, models, prompts, [tokens] * len(models)))

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """The status and the text of an answer."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def close(self) -> None:
        """End the server and what it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
