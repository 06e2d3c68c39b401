"""Named errors and warnings.

Every message says where the trouble is (file, event, sample, bin or parameter) and what to do
about it.  All errors derive from :class:`MilinferError`, so ``except MilinferError`` catches
everything that milinfer raises on purpose and nothing else.
"""

from __future__ import annotations

__all__ = [
    "CalibrationError",
    "ConfigurationError",
    "ConvergenceWarning",
    "FeatureError",
    "FitError",
    "LHEError",
    "MilinferError",
    "MilinferWarning",
    "MissingFileError",
    "ModelError",
    "ParameterError",
    "SampleError",
    "SecondMinimumWarning",
    "TemplateError",
    "TrackingError",
    "TurningResponseWarning",
    "UnusedVariationWarning",
    "WorkspaceError",
]


class MilinferError(Exception):
    """Base of all errors that milinfer raises on purpose.

    Examples
    --------
    >>> from milinfer.exceptions import LHEError, MilinferError
    >>> issubclass(LHEError, MilinferError)
    True
    """


class LHEError(MilinferError, ValueError):
    """An LHE file is damaged or contradicts itself; the message names the file and the event."""


class MissingFileError(MilinferError, FileNotFoundError):
    """A file to read, or the folder of a file to write, is missing; the message names the path."""


class SampleError(MilinferError, ValueError):
    """A sample or its file is incomplete, inconsistent or of the wrong kind."""


class FeatureError(MilinferError, ValueError):
    """Features cannot be computed from these events, or do not match those of a model."""


class ParameterError(MilinferError, ValueError):
    """A parameter is unknown, missing or outside the range where a surface is valid."""


class ModelError(MilinferError, ValueError):
    """A model cannot be trained, saved, loaded or applied."""


class CalibrationError(MilinferError, ValueError):
    """A calibration cannot be made, or does not belong to what it is applied to."""


class TemplateError(MilinferError, ValueError):
    """Histogram templates cannot be made or morphed; the message names the bin and the point."""


class WorkspaceError(MilinferError, ValueError):
    """A HistFactory workspace is damaged or inconsistent; the message names file and place."""


class FitError(MilinferError, RuntimeError):
    """A minimisation or an interval did not converge."""


class ConfigurationError(MilinferError, ValueError):
    """An option or a configuration key has a value that cannot work."""


class TrackingError(MilinferError, RuntimeError):
    """An experiment tracker failed; the message names it and what it was told."""


class MilinferWarning(UserWarning):
    """Something works but needs attention."""


class SecondMinimumWarning(MilinferWarning):
    """Values in another minimum of a cost belong to the confidence set, and not to the interval."""


class TurningResponseWarning(MilinferWarning):
    """The mean estimate is not a monotonic function of the true value, so a line replaces it."""


class UnusedVariationWarning(MilinferWarning):
    """Histograms do not use all systematic variations; the closure test compares the others."""


class ConvergenceWarning(MilinferWarning):
    """A training ended by its number of epochs while its loss was still falling."""
