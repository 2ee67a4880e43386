"""Serves 10,000 adapters with the real vLLM and checks what comes back: `make test-vllm`.

    python serve.py [--environment FOLDER] [--rows FILE] [--work FOLDER]

Builds vLLM's environment if it is not there (3.5 GB, some minutes), makes a random Llama and a store, computes what
PEFT generates, starts the server with API, engine and worker in processes of their own, again with adapters expanded to
folders, and at last vLLM in one process. Four to six minutes on two cores once the environment is there. Prints a line
a check; exits 0 if all hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from checks import Checks
from environment import python_of
from materials import COUNT, REFUSED, SERVED_METHODS, fill, load_base, make_adapter, make_base, numbered
from references import greedy, peft_tokens
from server import MAX_LORAS, Server, environment
from timing import many, rows, throughput, time_to_first_token

import nolakit
from nolakit.store.store import Store

TOKENS = 24
DISTINCT = 500
RESOLVING = 2.0  # seconds in which the resolver has surely come as far as its pin; it waits there for ten
MANY_PROCESSES = ("--distributed-executor-backend", "mp")


def prompt_of(ref: str) -> list[int]:
    """A prompt of its own for each adapter."""
    return [random.Random(ref).randrange(1, 512) for _ in range(12)]


class Run:
    """What the parts of the run share."""

    def __init__(self, python: Path, work: Path) -> None:
        self.python, self.work, self.checks = python, work, Checks()
        self.base = make_base(work / "base")
        self.path = work / "adapters.nola"
        self.store = Store.create(self.path)
        fill(self.store, self.base, work / "made")
        sampled = [numbered(number) for number in sorted(random.Random(0).sample(range(COUNT), 12))]
        others = [f"method/{method}" for method in SERVED_METHODS] + ["bits/8", "bits/4"]
        self.refs = ["base", *sampled, *others, "twice", sampled[1] + "@1"]
        self.tokens = self.peft(self.refs)

    def peft(self, refs: list[str]) -> dict[str, tuple[int, ...]]:
        return peft_tokens(self.base, self.store, {ref: prompt_of(ref) for ref in refs}, TOKENS, self.work)

    def peft_base(self) -> dict[str, tuple[int, ...]]:
        """What the plain base says to each adapter's prompt."""
        model = load_base(self.base)
        return {ref: greedy(model, prompt_of(ref), TOKENS) for ref in self.refs}

    def log(self, name: str) -> str:
        return (self.work / name).read_text()

    def same_as_peft(self, server: Server, refs: list[str], what: str) -> None:
        answers = {ref: server.complete(ref, prompt_of(ref), TOKENS) for ref in refs}
        wrong = [ref for ref, answer in answers.items() if answer.ids != self.tokens[ref]]
        self.checks.that(not wrong, what, f"{len(refs) - len(wrong)} of {len(refs)} {' '.join(wrong)}")

    def status(self, server: Server, ref: str, expected: int, what: str) -> None:
        answer = server.complete(ref, prompt_of(ref), 4)
        self.checks.that(answer.status == expected and server.healthy(), what, answer.status)

    def load_path(self, server: Server, name: str, path: str) -> int:
        return server.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})[0]

    def nolakit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nolakit.cli.app", *arguments]
        return subprocess.run(command, capture_output=True, text=True)


def many_processes(run: Run, rows_to: Path | None) -> None:
    checks, store = run.checks, run.store
    checks.part("server: API, engine and worker in processes of their own")
    env = environment(run.path)
    with Server(run.python, run.base, run.work / "server.log", env, *MANY_PROCESSES) as server:
        checks.that(True, "starts", f"{server.start_seconds:.0f} s")
        server.complete("base", prompt_of("base"), 1)
        first = server.complete(numbered(50), prompt_of("base"), 1)
        checks.that(
            first.status == 200, "the first adapter of the worker's life", f"{1000 * first.seconds:.0f} ms"
        )
        others = {ref: ids for ref, ids in run.tokens.items() if ref != "base"}
        plain = run.peft_base()
        checks.that(
            all(ids != plain[ref] for ref, ids in others.items()),
            "each adapter changes what the base says",
            len(others),
        )
        run.same_as_peft(server, run.refs, f"greedy tokens are PEFT's, {COUNT:,} adapters in the store")
        run.status(server, "task/none", 404, "an unknown name: 404")
        run.status(server, "/etc/passwd", 404, "a name that is a path: 404")
        run.status(server, f"{run.path}", 404, "the path of the store: 404")
        run.status(server, "../adapters", 404, "a relative path: 404")
        for name, why in REFUSED.items():
            run.status(server, name, 404, f"{why}: 404")
        log = server.log.read_text()
        said = [name for name in REFUSED if f"adapter '{name}' refused: found" in log]
        checks.that(
            len(said) == len(REFUSED), "the log says why each was refused, by the resolver", len(said)
        )

        time_and_measure(run, server, rows_to)

        distinct = many(1000, DISTINCT)
        answers = server.complete_all(distinct, [prompt_of(name) for name in distinct], 2)
        good = sum(answer.status == 200 for answer in answers)
        checks.that(good == DISTINCT and server.healthy(), f"{DISTINCT} distinct adapters, 16 at once", good)
        run.same_as_peft(server, run.refs, "the first ones again, evicted since: PEFT's tokens")

        served = run.refs[1]
        removed = run.nolakit("store", "rm", str(run.path), served)
        checks.that(
            removed.returncode != 0 and "in use" in removed.stderr + removed.stdout,
            "`nolakit store rm` of a served adapter is refused",
            f"exit code {removed.returncode}",
        )
        unserved = run.nolakit("store", "rm", str(run.path), numbered(COUNT - 1))
        checks.that(unserved.returncode == 0, "`nolakit store rm` of another is not")
        collected = store.collect()
        checks.that(collected.blobs == 1, "collecting deletes that one's content alone", collected.blobs)

        retrained(run, server)
        damaged(run, server)
        vanished(run, server)
        checks.that("EngineDeadError" not in run.log("server.log"), "the engine never died")
    removed = store.remove(run.refs[1])
    checks.that(len(removed) == 1, "the server has ended: what it served can be deleted")


def retrained(run: Run, server: Server) -> None:
    run.store.add("twice", make_adapter(run.base, run.work / "again", "nola", num_basis=32, seed=72))
    before = server.complete("twice", prompt_of("twice"), TOKENS)
    run.checks.that(
        before.ids == run.tokens["twice"], "a new version under a served name changes nothing yet"
    )
    server.post("/v1/unload_lora_adapter", {"lora_name": "twice"})
    expected = run.peft(["twice"])["twice"]
    after = server.complete("twice", prompt_of("twice"), TOKENS)
    run.checks.that(
        after.ids == expected != before.ids,
        "after unloading the name: the new version's tokens, no stale cache",
    )


def damaged(run: Run, server: Server) -> None:
    first, second = many(2000, 2)
    with writing(run.path) as connection:
        corrupt(connection, first)
    run.status(server, first, 404, "a corrupted blob, seen by the resolver: 404")
    with writing(run.path) as connection, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.complete, second, prompt_of(second), 4)
        time.sleep(RESOLVING)
        corrupt(connection, second)
        connection.execute("COMMIT")
    between(run, server, answer.result().status, "corrupted between resolving and loading: 400")
    run.same_as_peft(server, run.refs[1:4], "others are served")


def vanished(run: Run, server: Server) -> None:
    first, second = many(3000, 2)
    moved = [(Path(f"{run.path}{end}"), Path(f"{run.path}{end}.moved")) for end in ("", "-wal", "-shm")]
    with writing(run.path) as connection, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.complete, first, prompt_of(first), 4)
        time.sleep(RESOLVING)
        for here, there in moved:
            here.rename(there)
        connection.execute("COMMIT")
    between(run, server, answer.result().status, "the store gone between resolving and loading: 400")
    run.status(server, second, 404, "gone: an adapter that was not loaded: 404")
    refs = [ref for ref in run.refs if ref != "twice"]
    run.same_as_peft(
        server, refs, f"gone: {len(refs)} that were loaded, most evicted since ({MAX_LORAS} are kept)"
    )
    for here, there in moved:
        if there.exists():
            there.rename(here)
    run.status(server, second, 200, "the store is back: served")


def between(run: Run, server: Server, status: int, what: str) -> None:
    run.checks.that(status == 400 and server.healthy(), what, status)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that keeps the resolver, which has looked at an adapter, waiting to pin it."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if connection.in_transaction:
            connection.execute("COMMIT")
    finally:
        connection.close()


def corrupt(connection: sqlite3.Connection, name: str) -> None:
    """Change one byte of an adapter's content, which the store's own tables would not let anybody do."""
    query = "SELECT b.id, b.data FROM versions v JOIN blobs b ON b.id = v.blob WHERE v.name = ?"
    row, data = connection.execute(query, (name,)).fetchone()
    wrong = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    (guard,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'blobs_are_immutable'"
    ).fetchone()
    connection.execute("DROP TRIGGER blobs_are_immutable")
    connection.execute("UPDATE blobs SET data = ? WHERE id = ?", (wrong, row))
    connection.execute(guard)


def time_and_measure(run: Run, server: Server, rows_to: Path | None) -> None:
    checks = run.checks
    prompts = [prompt_of(str(number)) for number in range(16)]
    seconds = time_to_first_token(server, prompts, many(100, 49))
    for case, value in seconds.items():
        checks.that(True, f"time to first token: {case}", f"{1000 * value:.1f} ms")
    names = many(200, 16)
    folders = [run.work / "plain" / str(number) for number in range(16)]
    for name, folder in zip(names, folders, strict=True):
        file = run.work / "one.nola"
        file.write_bytes(run.store.read(name))
        nolakit.export_lora(file, folder)
    plain = [f"plain-{number}" for number in range(16)]
    loaded = [run.load_path(server, name, str(folder)) for name, folder in zip(plain, folders, strict=True)]
    ours, theirs = (server.complete_all(models, prompts, TOKENS) for models in (names, plain))
    cases = {"base": ["base"] * 16, "16 adapters of nolakit's": names, "16 plain LoRA folders": plain}
    rates = throughput(server, prompts, cases)
    checks.that(
        loaded == [200] * 16 and [one.ids for one in theirs] == [one.ids for one in ours],
        "plain PEFT folders are loaded as ever, and say the same",
        len(theirs),
    )
    for case, values in rates.items():
        checks.that(True, f"16 requests at once: {case}", f"{sorted(values)[len(values) // 2]:.0f} tokens/s")
    if rows_to is not None:
        rows_to.write_text("\n".join(rows(run.python, seconds, rates)) + "\n")


def folders(run: Run) -> None:
    checks = run.checks
    checks.part("server: adapters expanded to folders in memory-backed storage")
    env = environment(run.path, NOLAKIT_VLLM_FOLDER=str(run.work / "folders"))
    with Server(run.python, run.base, run.work / "folders.log", env) as server:
        refs = [ref for ref in run.refs if ref not in ("twice", run.refs[1])]
        run.same_as_peft(server, refs, "greedy tokens are PEFT's")
        run.same_as_peft(server, refs, "again, after evictions")
        run.status(server, "task/none", 404, "an unknown name: 404")


def one_process(run: Run) -> None:
    checks = run.checks
    checks.part("vLLM in one process")
    copy = run.work / "copy.nola"
    names = [ref for ref in run.refs if ref not in ("twice", run.refs[1])]
    with sqlite3.connect(run.path) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    questions, answers = run.work / "questions.json", run.work / "answers.json"
    asked = {
        "prompts": {ref: prompt_of(ref) for ref in names}, "tokens": TOKENS, "refused": [*REFUSED, "task/none", "/etc"],
        "gone": [ref for ref in names if ref != "base"],
    }  # fmt: skip
    questions.write_text(json.dumps(asked))
    env = environment(copy, VLLM_ENABLE_V1_MULTIPROCESSING="0")
    with (run.work / "inside.log").open("w") as log:
        command = [
            str(run.python),
            str(Path(__file__).with_name("inside.py")),
            str(run.base),
            str(questions),
            str(answers),
        ]
        code = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=run.work).returncode
    checks.that(
        code == 0, "runs to its end", f"exit code {code}" + (run.log("inside.log")[-2000:] if code else "")
    )
    if code:
        return
    found = json.loads(answers.read_text())
    same = [ref for ref in names if tuple(found["tokens"][ref]) == run.tokens[ref]]
    checks.that(len(same) == len(names), "greedy tokens are PEFT's", f"{len(same)} of {len(names)}")
    checks.that(len(found["refused"]) == len(asked["refused"]), "refused by name", len(found["refused"]))
    gone = [ref for ref in asked["gone"] if tuple(found["gone"][ref]) == run.tokens[ref]]
    checks.that(len(gone) == len(asked["gone"]), "evicted, and the store gone: the same tokens", len(gone))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environment", type=Path, default=Path(".vllm"), help="vLLM's own virtual environment"
    )
    parser.add_argument("--rows", type=Path, help="where to write what was measured, a JSON line a figure")
    parser.add_argument("--work", type=Path, help="keep models, stores and logs in this empty folder")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    python = python_of(options.environment.absolute())
    with tempfile.TemporaryDirectory(prefix="nolakit-vllm-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        run = Run(python, work)
        many_processes(run, options.rows and options.rows.absolute())
        folders(run)
        one_process(run)
        return run.checks.end()


if __name__ == "__main__":
    sys.exit(main())
