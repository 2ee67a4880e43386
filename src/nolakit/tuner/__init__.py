"""The methods as PEFT adapters: configuration, model, computed factors, registration."""

import peft  # noqa: F401 - before our own modules, which the hook imports right after it
