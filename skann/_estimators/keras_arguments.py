"""Arguments of Keras' ``fit`` and ``predict`` that have another name here."""

_VALIDATED = "the validation set is evaluated after each epoch, as a whole"

_HERE = {
    "fit": {
        "x": "it is called X",
        "validation_split": "set the parameter validation_fraction, with "
        "validation='last' for the last rows, as Keras has them",
        "class_weight": "set the parameter class_weight of MLPKerasClassifier, or give "
        "sample_weight",
        "shuffle": "set the parameter shuffle",
        "initial_epoch": "set the parameter warm_start=True, with which training goes "
        "on and epochs are counted further",
        "validation_batch_size": "batch_size counts for the validation set too",
        "steps_per_epoch": "an epoch is one pass over all rows",
        "validation_steps": _VALIDATED,
        "validation_freq": _VALIDATED,
    },
    "predict": {
        "x": "it is called X",
        "batch_size": "rows go through the network in batches that fit into memory",
        "steps": "all rows of X are predicted",
        "verbose": "it prints nothing",
        "callbacks": "give them to fit, or use model_.predict",
    },
}
_HERE["predict_proba"] = _HERE["predict"]


def refuse(estimator, method, given):
    """Raise TypeError for arguments that a method does not take.

    Parameters
    ----------
    estimator : estimator
    method : str
    given : dict
        Arguments beyond those of its signature.
    """
    name = type(estimator).__name__
    for argument in given:
        if argument in _HERE[method]:
            raise TypeError(
                f"{name}.{method} takes no {argument}: {_HERE[method][argument]}."
            )
        raise TypeError(
            f"{name}.{method}() got an unexpected keyword argument {argument!r}."
        )
