"""Which optimizers can train a network in float64: most, but not Keras' Muon."""

from skann._runtime.start import with_keras


def takes_float64(optimizer):
    """Whether an optimizer changes variables in float64.

    Parameters
    ----------
    optimizer : str, type, keras.optimizers.Optimizer or None
        None is skann's own choice. An object is left as it is.
    """
    if optimizer is None or isinstance(optimizer, str):
        return str(optimizer).lower() != "muon"
    return with_keras().changes_float64(optimizer)
