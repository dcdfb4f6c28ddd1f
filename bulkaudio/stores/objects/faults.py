"""What goes wrong in an object store."""

from bulkaudio.errors import StorageError


class BucketAuthError(StorageError):
    """The credentials are missing, refused, or not allowed to do what was tried."""


class ObjectMissingError(StorageError):
    """An object that was to be read is not there."""
