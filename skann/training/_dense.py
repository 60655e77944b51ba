"""Little work on a stack of dense layers: Keras' steps in NumPy.

A call into tensorflow takes longer than the arithmetic of a small step, and tracing
and compiling one takes longer than a small fit. What is common among small fits is
done here in the same order of operations as Keras has it: dense layers, the losses of
regression and classification, Adam and SGD. Everything else, and all larger work,
runs in tensorflow.

References
----------
D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
"""

import math

import keras
import numpy as np
from scipy.linalg import blas

from skann.training._stack import Stack, as_logs, cast, has, is_known, views
from skann.training._variables import read

_OPTIMIZER_SETTINGS = {
    "amsgrad": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def is_plain(model, row_shape):
    """Whether a compiled model is one whose steps are known here."""
    optimizer = model.optimizer
    return (
        type(optimizer) in (keras.optimizers.Adam, keras.optimizers.SGD)
        and isinstance(optimizer._learning_rate, keras.Variable)
        and has(vars(optimizer), _OPTIMIZER_SETTINGS)
        and is_known(model, row_shape)
    )


class DenseTrainer:
    """Trains one dense stack on a feed, an epoch a call; as ``Trainer`` does.

    Parameters
    ----------
    model : keras.Sequential
        For which `is_plain` holds; its variables are created.
    feed, validation : Feed or None
    batch_size : int
    row_order : callable of (epoch, n_rows)
    watched : bool
        Whether callbacks may look at the model, or change it, between epochs. If not,
        its variables are given their values at the end only.
    """

    def __init__(self, model, feed, validation, batch_size, row_order, watched):
        self.model = model
        self.feed = feed
        self.validation = validation
        self.row_order = row_order
        self.steps = -(-len(feed) // batch_size)
        self._batch_size = batch_size
        self._watched = watched
        self._stack = Stack(model, feed.dtype)
        adam = type(model.optimizer) is keras.optimizers.Adam
        self._optimizer = (_Adam if adam else _SGD)(model.optimizer)
        self._pull()

    def epoch(self, epoch):
        """Train for one epoch and return its logs (dict of float)."""
        if self._watched:
            self._pull()
        stack, total = self._stack, 0.0
        rate = float(*read([self.model.optimizer._learning_rate._value]))
        order = self.row_order(epoch, len(self.feed))
        with np.errstate(all="ignore"):  # A loss that is not finite ends the fit.
            for batch in self._batches(order):
                total += stack.differentiate(*batch) * len(batch[0])
                self._optimizer.step(stack.parameters, stack.gradient, rate)
        if self._watched:
            self._publish()
        return as_logs(total / len(order))

    def validate(self):
        """Evaluate on the validation rows and return the logs (dict of float)."""
        return self._stack.evaluate(self.validation)

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        return self._stack.weights()

    def finish(self):
        """Give the model its weights and its optimizer's state."""
        self._publish()

    def _batches(self, order):
        """Yield x, y and perhaps weights, of rows in this order."""
        size = self._batch_size
        n_rows = size * self.feed.steps_per_chunk(size)
        for first in range(0, len(order), n_rows):
            x, *rest = self.feed.take(order[first : first + n_rows])
            x = self._stack.inputs(x)
            for start in range(0, len(x), size):
                rows = slice(start, start + size)
                yield (x[rows], *(part[rows] for part in rest))

    def _pull(self):
        """Take the values of the model's variables."""
        _gather(self._stack.variables, self._stack.parameters)
        self._optimizer.pull(self._stack.parameters)

    def _publish(self):
        """Give the model's variables their values."""
        _scatter(self._stack.parameters, self._stack.variables)
        self._optimizer.publish()


# Of BLAS: y += a x in place, in one pass.
_AXPY = {"float32": blas.saxpy, "float64": blas.daxpy}


class _Adam:
    """Keras' Adam, on one vector of parameters."""

    def __init__(self, optimizer):
        self._keras = optimizer
        self._beta_1, self._beta_2 = optimizer.beta_1, optimizer.beta_2
        self._epsilon = optimizer.epsilon

    def pull(self, parameters):
        """Take the state of Keras' optimizer."""
        self._iterations = int(*read([self._keras.iterations._value]))
        self._m, self._v = np.empty_like(parameters), np.empty_like(parameters)
        self._change = np.empty_like(parameters)
        self._axpy = _AXPY[parameters.dtype.name]
        _gather(self._keras._momentums, self._m)
        _gather(self._keras._velocities, self._v)

    def step(self, parameters, gradient, rate):
        """Change the parameters in place; the gradient is used up."""
        self._iterations += 1
        change = self._change
        t = self._iterations
        correction = math.sqrt(1.0 - cast(self._beta_2) ** t)
        alpha = rate * correction / (1.0 - cast(self._beta_1) ** t)
        self._m *= self._beta_1
        self._axpy(gradient, self._m, a=1.0 - self._beta_1)
        gradient *= gradient
        self._v *= self._beta_2
        self._axpy(gradient, self._v, a=1.0 - self._beta_2)
        np.sqrt(self._v, out=change)
        change += self._epsilon
        np.divide(self._m, change, out=change)
        self._axpy(change, parameters, a=-alpha)

    def publish(self):
        """Give Keras' optimizer its state."""
        _scatter(self._m, self._keras._momentums)
        _scatter(self._v, self._keras._velocities)
        self._keras.iterations.assign(self._iterations)


class _SGD:
    """Keras' SGD with its momentum, on one vector of parameters."""

    def __init__(self, optimizer):
        self._keras = optimizer
        self._momentum, self._nesterov = cast(optimizer.momentum), optimizer.nesterov

    def pull(self, parameters):
        """Take the state of Keras' optimizer."""
        self._iterations = int(*read([self._keras.iterations._value]))
        self._m = np.zeros_like(parameters)
        _gather(self._keras.momentums, self._m)

    def step(self, parameters, gradient, rate):
        """Change the parameters in place."""
        self._iterations += 1
        gradient *= rate
        if not self._momentum:
            parameters -= gradient
            return
        self._m *= self._momentum
        self._m -= gradient
        if self._nesterov:
            parameters += self._m * self._momentum
            parameters -= gradient
        else:
            parameters += self._m

    def publish(self):
        """Give Keras' optimizer its state."""
        _scatter(self._m, self._keras.momentums)
        self._keras.iterations.assign(self._iterations)


def _gather(variables, vector):
    values = read([variable._value for variable in variables])
    for value, part in zip(values, views(vector, variables), strict=True):
        part[...] = value


def _scatter(vector, variables):
    for variable, part in zip(variables, views(vector, variables), strict=True):
        variable._value.assign(part)
