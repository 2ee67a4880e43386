"""Other packages' start-up notes, which say nothing about what the user asked for."""

from __future__ import annotations

import logging
import os
import warnings

# What each says: torchao and bitsandbytes, which of their kernels are not for this machine; pytree, what
# torchao should do one day; the hub's client, that it is used without a token.
LOGGERS = ("torchao", "torch.utils._pytree", "bitsandbytes", "huggingface_hub")


def silence() -> None:
    """Before torch is imported: only errors of these packages are shown."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
