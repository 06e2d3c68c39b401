"""Errors and warnings of milinfer.

Every message names the file, event, sample, bin or parameter with the problem, and says what to do.
All errors are derived from :class:`MilinferError`, so that ``except MilinferError`` catches every
error that milinfer raises on purpose, and no others.
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
    """Base class of all errors that milinfer raises on purpose.

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
    """Features cannot be computed from these events, or do not match the features of a model."""


class ParameterError(MilinferError, ValueError):
    """A parameter is unknown, missing, or outside the range in which a likelihood is valid."""


class ModelError(MilinferError, ValueError):
    """A model cannot be trained, saved, loaded or applied."""


class CalibrationError(MilinferError, ValueError):
    """A calibration cannot be made, or does not belong to the model or data it is applied to."""


class TemplateError(MilinferError, ValueError):
    """Histogram templates cannot be made or morphed; the message names the bin and the point."""


class WorkspaceError(MilinferError, ValueError):
    """A HistFactory workspace is damaged or inconsistent; the message names file and place."""


class FitError(MilinferError, RuntimeError):
    """A minimisation or an interval did not converge."""


class ConfigurationError(MilinferError, ValueError):
    """An option or a configuration key has a wrong value."""


class TrackingError(MilinferError, RuntimeError):
    """An experiment tracker failed; the message names the tracker and its input."""


class MilinferWarning(UserWarning):
    """Warning about a result that needs attention."""


class SecondMinimumWarning(MilinferWarning):
    """The interval leaves out values around a second minimum that are in the confidence set."""


class TurningResponseWarning(MilinferWarning):
    """The mean estimate is not monotonic in the true value; a linear function is fitted to it."""


class UnusedVariationWarning(MilinferWarning):
    """The closure test of histograms leaves out variations that the histograms do not use."""


class ConvergenceWarning(MilinferWarning):
    """A training reached its number of epochs while its loss was still falling."""
