"""What every test runs under: no hub, few threads, quiet progress bars."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest-xdist runs one process per core
