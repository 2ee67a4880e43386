"""transformers and datasets without their own bars and notes, while a task runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import datasets
from transformers.utils import logging

# Notes about other libraries' own future, of no use to who trains.
IGNORED_MESSAGES = (".*is_gradient_checkpointing.*", ".*lr_scheduler.step.*", ".*pin_memory.*")


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors are logged, and no bars are drawn, until the block ends."""
    level = logging.get_verbosity()
    bars, data_bars = logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            for message in IGNORED_MESSAGES:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not data_bars:
            datasets.enable_progress_bars()
