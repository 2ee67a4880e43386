"""vLLM in one process, without a server: run by serve.py with vLLM's own interpreter.

    python inside.py BASE QUESTIONS ANSWERS

QUESTIONS is a JSON object of references and prompts, ANSWERS becomes one of references and tokens; what is asked for
under `gone` is asked for again when all else was and the store has been taken away.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from vllm import LLM, SamplingParams

from nolakit.errors import NolakitError
from nolakit.vllm.offline import lora_request


def main() -> None:
    base, questions, answers = sys.argv[1:]
    asked = json.loads(Path(questions).read_text())
    llm = LLM(
        base, dtype="float32", max_model_len=256, max_num_seqs=4, enforce_eager=True, enable_lora=True, max_loras=2,
        max_cpu_loras=2, max_lora_rank=16,
    )  # fmt: skip
    found: dict = {"tokens": {}, "refused": {}, "gone": {}}
    requests = {}
    for ref, prompt in asked["prompts"].items():
        requests[ref] = lora_request(llm, ref) if ref != "base" else None
        found["tokens"][ref] = _tokens(llm, prompt, asked["tokens"], requests[ref])
    for ref in asked["refused"]:
        try:
            lora_request(llm, ref)
        except NolakitError as error:
            found["refused"][ref] = type(error).__name__
    store = Path(os.environ["NOLAKIT_STORE"])
    for end in ("", "-wal", "-shm"):
        Path(f"{store}{end}").unlink(missing_ok=True)
    for ref in asked["gone"]:  # evicted by those behind them
        found["gone"][ref] = _tokens(llm, asked["prompts"][ref], asked["tokens"], requests[ref])
    Path(answers).write_text(json.dumps(found))


def _tokens(llm: LLM, prompt: list[int], tokens: int, request: object) -> list[int]:
    sampling = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
    (made,) = llm.generate({"prompt_token_ids": prompt}, sampling, lora_request=request, use_tqdm=False)
    return list(made.outputs[0].token_ids)


if __name__ == "__main__":
    main()
