# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: setup demo test test-vllm check browser bench fuzz clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Adapts a pre-trained MiniLM to a real task and compares frozen head, LoRA and NOLA: about two minutes.
demo: setup
	$(RUN) examples/stdlib_docstrings/demo.py

check: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

# The status page is tested in a browser: Debian's, where there is none and it may be installed.
BROWSERS := chromium chromium-browser google-chrome
browser:
	@for name in $(BROWSERS); do if command -v $$name >/dev/null; then exit 0; fi; done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium; } \
			>/dev/null 2>&1 || echo "no browser could be installed: what needs one is skipped"; \
	fi

# One thread a worker: two workers fill two cores.
test: check browser
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist worksteal

# Serves 10,000 adapters with the real vLLM: five minutes, and once 3.5 GB of its own environment in .vllm. ROWS=FILE
# keeps what was measured.
test-vllm: setup
	$(RUN) tests/vllm_plugin/real/serve.py --environment .vllm $(if $(ROWS),--rows $(ROWS))

# Measures nolakit beside its peers into docs/performance.md; twenty-five minutes on an idle machine.
bench: setup
	$(RUN) benchmarks/run.py

# Fuzzes every reader, SECONDS for each of the six: docs/attacks.md.
SECONDS ?= 60
fuzz: setup
	OMP_NUM_THREADS=1 $(RUN) tests/attacks/fuzz.py --seconds $(SECONDS)

clean:
	rm -rf $(VENV) out
