"""Fuzz every reader, each in a process of its own, guided by what its inputs reach.

    python tests/attacks/fuzz.py --seconds 60 --target packed --target folder

Only errors of nolakit's may come out, within a second of the processor's time and a GiB. Exits with 1 on a finding,
and keeps its input under --keep.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from random import Random

TESTS = Path(__file__).resolve().parents[1]
NAMES = ("packed", "description", "names", "folder", "bundle", "references")
SECONDS, MEMORY, LONGEST = 1.0, 1 << 30, 1 << 16


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument(
        "--runs", type=int, default=1 << 62, help="inputs for each target, if the time allows"
    )
    parser.add_argument("--target", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="where inputs of findings go")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.target[0], options)
    failed = 0
    for name in options.target or NAMES:
        shared = [sys.executable, __file__, "--child", "--target", name, "--keep", str(options.keep)]
        numbers = [
            "--seconds",
            str(options.seconds),
            "--runs",
            str(options.runs),
            "--seed",
            str(options.seed),
        ]
        done = subprocess.run([*shared, *numbers], capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
        if f"{name}: " not in done.stdout:
            print(f"{name}: the process ended with {done.returncode}\n{done.stderr[-2000:]}", flush=True)
        failed += done.returncode != 0
    return int(failed > 0)


def fuzz(name: str, options: argparse.Namespace) -> None:
    """Fuzz one target; the process ends with it."""
    sys.path[0] = str(TESTS)
    import atheris

    with atheris.instrument_imports(include=["nolakit"], exclude=["nolakit.basis"]):
        from attacks.mutations import damaged
        from attacks.targets import TARGETS, place
    from nolakit.errors import NolakitError

    target, findings, tried = TARGETS[name], dict[str, bytes](), 0
    corpus = place() / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        with suppress(Exception):  # compiles kernels; what fails is found below
            target.read(data)
        (corpus / str(number)).write_bytes(data)
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (here + MEMORY, resource.RLIM_INFINITY))
    end = time.monotonic() + options.seconds

    def one(data: bytes) -> None:
        nonlocal tried
        tried += 1
        start = time.process_time()
        try:
            target.read(data)
        except NolakitError:
            pass
        except Exception as error:
            findings.setdefault(_where(error), data)
        if time.process_time() - start > SECONDS:
            findings.setdefault("more than a second", data)
        if tried >= options.runs or time.monotonic() > end:
            report()

    def report() -> None:
        print(f"{name}: {tried:,} inputs, {len(findings)} findings")
        for number, (what, data) in enumerate(findings.items()):
            options.keep.mkdir(parents=True, exist_ok=True)
            path = options.keep / f"{name}-{number}"
            path.write_bytes(data)
            print(f"  {what}: {path}")
        sys.stdout.flush()
        shutil.rmtree(place())
        os._exit(int(bool(findings)))

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)

        def plain(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, LONGEST)) if random.random() < 0.7 else damaged(part, random)

        return target.mutate(bytes(data), random, plain)[:most]

    flags = [f"-seed={options.seed}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=0"]
    atheris.Setup(
        [sys.argv[0], *flags, f"-artifact_prefix={place()}/", str(corpus)], one, custom_mutator=mutator
    )
    atheris.Fuzz()


def _where(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "nolakit" in frame.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return re.sub(
        r"\s+", " ", f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"[:120]
    )


if __name__ == "__main__":
    sys.exit(main())
