"""Names that Keras gives to losses, and what they say; no Keras is needed for it."""

import re

from skann._runtime.start import is_of_keras

_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "logcosh": "log_cosh",
    "kld": "kl_divergence",
    "cce": "categorical_crossentropy",
}


def snake(name):
    """Return the snake-case name of a class of Keras'."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return {"kldivergence": "kl_divergence"}.get(name, name)


def only(thing):
    """Return what a list, tuple or dict of one holds; all else as it is.

    Keras takes losses and metrics so, one for each output. Here there is one output.
    """
    while isinstance(thing, (list, tuple, dict)) and len(thing) == 1:
        (thing,) = thing.values() if isinstance(thing, dict) else thing
    return thing


def canonical_name(thing):
    """Return Keras' snake-case name of a loss: a name, class, object or function."""
    thing = only(thing)
    if not isinstance(thing, str):
        thing = getattr(thing, "__name__", None) or type(thing).__name__
    name = snake(thing)
    return _ALIASES.get(name, name)


def takes_logits(loss, arguments=None):
    """Whether a loss, or one made by name or class with arguments, takes logits."""
    loss = only(loss)
    if is_of_keras(loss, "losses.Loss"):
        arguments = loss.get_config()
    return bool((arguments or {}).get("from_logits", False))


def is_keras_loss(loss):
    """Whether a loss is one of Keras', and none of the user's own."""
    if isinstance(loss, str):
        return True
    if type(loss).__name__ in ("Loss", "LossFunctionWrapper"):
        return False
    kind = loss if hasattr(loss, "__name__") else type(loss)
    return kind.__module__.startswith("keras.")
