"""Figures of all results, and the style in which they are drawn.

Every function ``plot_…`` returns a :class:`matplotlib.figure.Figure`, and ``diagnostic_figures``
returns all figures of a diagnosis by name.  ``styled``, ``figure_of``, ``parameter_label`` and
``PALETTE`` give your own figures the same style.  Names are imported when they are first used, so
that matplotlib is loaded only if something is drawn.

Examples
--------
>>> from milinfer.plotting import plot_training
>>> plot_training([{"loss": [2.0, 1.5], "val_loss": [2.1, 1.7]}]).axes[0].get_xlabel()
'epoch'
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
