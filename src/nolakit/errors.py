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


class BaseNeededError(NolakitError, ValueError):
    """An adapter that is computed from the base's weights, without them."""


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


class StoreError(NolakitError, RuntimeError):
    """A store that cannot be opened, read or written."""


class StoreFormatError(StoreError, ValueError):
    """A file that is no store, or a store of a version that this one does not know."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No store where one was expected."""


class StoreDamagedError(StoreError, ValueError):
    """Content of a store that is not what was put in."""


class StoreBusyError(StoreError, TimeoutError):
    """A store that another process was writing for longer than was waited."""


class StoreFullError(StoreError, OSError):
    """A disk or a limit that has no room for what was to be written."""


class StoreReadOnlyError(StoreError, PermissionError):
    """A store that may only be read."""


class StoreNameError(StoreError, ValueError):
    """A name, version, tag or digest that is not written as one."""


class EntryNotFoundError(StoreError, LookupError):
    """A name, version, tag or digest that a store does not have."""


class PinnedError(StoreError):
    """A deletion of what is in use."""


class RequestError(NolakitError, ValueError):
    """A request to an engine that it cannot take: a prompt, a length or an option of sampling."""


class QueueFullError(NolakitError, RuntimeError):
    """An engine as many of whose requests wait as may; try again later."""


class EngineClosedError(NolakitError, RuntimeError):
    """An engine that was closed."""
