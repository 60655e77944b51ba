"""Eight threads that fit, predict, pickle, search and build at once, for some seconds.

``python tests/stress.py SECONDS``. Each piece of work has one right result: that of the
first time, alone. Where threads wait for ever, whoever started this has to end it.
"""

import itertools
import pickle
import sys
import threading
import time

import keras
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasClassifier, MLPKerasRegressor

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
HOW = {"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0}

shared = MLPKerasRegressor(**HOW).fit(X, Y)
odd = MLPKerasRegressor(**HOW, activation="mish").fit(X, Y)
dropped = MLPKerasRegressor(**HOW, dropout=0.1).fit(X, Y)


def build(input_shape, width=3):
    """Build a network, looking at those of other estimators."""
    like = shared.model_.layers[0].units
    late = MLPKerasRegressor(**HOW).fit(X, Y)
    late.model_.get_weights()
    odd.predict(X[:5])
    layers = [keras.layers.Dense(like + np.random.randint(3)), keras.layers.Dense(1)]  # noqa: NPY002
    return keras.Sequential([keras.Input(input_shape), *layers])


def make_loss():
    """Return a loss that looks at other networks, and is like no other one."""

    def loss(y, outputs):
        late = MLPKerasRegressor(**HOW).fit(X, Y)
        scale = late.predict(X[:1]) + odd.predict(X[:1]) + late.model_.count_params()
        return keras.ops.mean(keras.ops.square(y - outputs), axis=-1) * float(scale[0])

    return loss


def fitted(**how):
    return MLPKerasRegressor(**HOW, **how).fit(X, Y).predict(X)


def going_on():
    estimator = pickle.loads(pickle.dumps(dropped))
    return estimator.partial_fit(X, Y).predict(X)


def searched():
    search = GridSearchCV(
        MLPKerasRegressor(**HOW), {"learning_rate": [0.01, 0.1]}, cv=2
    )
    return search.fit(X, Y).cv_results_["mean_test_score"]


WORK = [
    fitted,
    lambda: fitted(dropout=0.1),
    lambda: MLPKerasRegressor(build, epochs=1, random_state=0).fit(X, Y).predict(X),
    lambda: fitted(loss=make_loss()),
    lambda: fitted(dropout=0.1, loss=make_loss()),
    lambda: MLPKerasClassifier(**HOW).fit(X, Y > 0).predict_proba(X),
    lambda: odd.predict(X),
    lambda: shared.predict(X),
    lambda: shared.model_.get_weights()[0],
    lambda: pickle.loads(pickle.dumps(shared)).predict(X),
    lambda: pickle.loads(pickle.dumps(odd)).predict(X),
    lambda: clone(odd).fit(X, Y).predict(X),
    going_on,
    searched,
]


def main(seconds):
    alone = [np.asarray(work()).tobytes() for work in WORK]
    end = time.monotonic() + seconds
    wrong = []

    def run(start):
        for i in itertools.count(start):
            if time.monotonic() > end or wrong:
                return
            i %= len(WORK)
            try:
                if np.asarray(WORK[i]()).tobytes() != alone[i]:
                    wrong.append(f"work {i} has another result in threads")
            except BaseException as error:
                wrong.append(f"work {i}: {error!r}")
                raise

    threads = [threading.Thread(target=run, args=(7 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main(float(sys.argv[1]))
