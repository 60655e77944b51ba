"""Every exception and warning that skann raises of its own.

::

    Exception
    └── SkannError
        ├── ModelError (also a ValueError)
        ├── EngineError (also a ValueError)
        └── DivergenceError (also an ArithmeticError and a ValueError)
    Warning
    └── scikit-learn's ConvergenceWarning
        └── DivergenceWarning

Bad parameters and bad data raise plain ``ValueError`` or ``TypeError``, as they
do in scikit-learn.
"""

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "DivergenceError",
    "DivergenceWarning",
    "EngineError",
    "ModelError",
    "SkannError",
]


class SkannError(Exception):
    """Base class of skann's own errors."""


class ModelError(SkannError, ValueError):
    """The build function returned something that cannot be trained on this data."""


class EngineError(SkannError, ValueError):
    """``engine="compiled"`` was asked for, and this fit cannot run compiled."""


class DivergenceError(SkannError, ArithmeticError, ValueError):
    """The training loss became NaN or infinite before any epoch ended well."""


class DivergenceWarning(ConvergenceWarning):
    """The training loss became NaN or infinite; earlier weights were kept."""
