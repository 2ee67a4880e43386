"""Every error that nolakit raises on purpose. Each message says what was found, what was expected and
what to do. Each class also inherits the built-in error that a caller would expect to catch."""

from __future__ import annotations


class NolakitError(Exception):
    """Base of all errors of this package."""


class BasisError(NolakitError, ValueError):
    """A seed, stream, size or tensor that the portable basis cannot take."""


class BackendError(NolakitError, RuntimeError):
    """A basis backend that is unknown or cannot run here."""


class ConfigError(NolakitError, ValueError):
    """An adapter configuration that cannot hold."""


class UnsupportedError(NolakitError, NotImplementedError):
    """A combination of options or operations that has no meaning for a method, refused by name."""


class StreamingError(UnsupportedError):
    """A base whose files cannot be merged tensor by tensor, so that its model must be loaded."""


class AdapterError(NolakitError, ValueError):
    """An adapter file or folder that cannot be read."""


class AdapterNotFoundError(AdapterError, FileNotFoundError):
    """No adapter where one was expected."""


class BaseMismatchError(NolakitError, ValueError):
    """An adapter that was made for another base model."""


class DeviceError(NolakitError, RuntimeError):
    """An adapter whose random basis only another device can make again."""


class DataError(NolakitError, ValueError):
    """A data set that cannot be read or lacks a column."""


class ModelError(NolakitError, ValueError):
    """A base model that cannot be loaded, or that a task cannot use."""


class TargetError(NolakitError, ValueError):
    """Target modules that the base model does not have."""


class OutputExistsError(NolakitError, FileExistsError):
    """An output that is there already and may not be overwritten."""
