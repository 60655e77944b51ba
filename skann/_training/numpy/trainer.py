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

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import blas

from skann._training.numpy.description import OptimizerSettings, cast
from skann._training.numpy.stack import Stack, as_logs, show_loss


class DenseTrainer:
    """Trains one dense stack on a feed, an epoch a call; as ``Trainer`` does.

    Parameters
    ----------
    model : keras.Model or None
        What callbacks know as the model, if there are any.
    state : KerasState or ArrayState
        Where weights and optimizer state come from, and go to.
    feed, validation : Feed or None
    batch_size : int
    row_order : callable of (epoch, n_rows)
    watched : bool
        Whether callbacks may look at the model, or change it, between epochs. If not,
        the state is given its values at the end only.
    schedule : Schedule, default=None
        Of the learning rate; None keeps it as it is.
    """

    engine = "numpy"

    def __init__(
        self,
        model,
        state,
        feed,
        validation,
        batch_size,
        row_order,
        watched,
        schedule=None,
    ):
        self.model = model
        self.feed = state.description.as_learned(feed)
        self.validation = state.description.as_learned(validation)
        self.row_order = row_order
        self.steps = -(-len(feed) // batch_size)
        self._batch_size = batch_size
        self._watched = watched
        self._schedule = schedule
        self._state = state
        self._stack = Stack(state.description)
        self._optimizer = _OPTIMIZERS[state.settings.kind](state.settings, self._stack)
        self._pull()

    @property
    def parameters(self):
        """Kernel and bias of each layer in turn, in one vector that is trained."""
        return self._stack.parameters

    def epoch(self, epoch):
        """Train for one epoch and return its logs (dict of float)."""
        return self.first_batches(epoch, self.steps)

    def first_batches(self, epoch, n_batches):
        """Train on the first batches of an epoch only and return its logs."""
        if self._watched:
            self._pull()
        stack, total = self._stack, 0.0
        rates = self._rates(epoch)
        order = self.row_order(epoch, len(self.feed))[: n_batches * self._batch_size]
        with np.errstate(all="ignore"):  # A loss that is not finite ends the fit.
            for batch, rate in zip(self._batches(order), rates, strict=False):
                self._optimizer.rate = rate
                total += stack.differentiate(*batch) * len(batch[0])
                self._optimizer.step(stack.parameters, stack.gradient)
        logs = as_logs(total / len(order))
        if self._watched:
            self._publish()
            show_loss(self.model, logs)
        return logs

    def validate(self, n_batches=None):
        """Evaluate on the validation rows and return the logs (dict of float)."""
        if self._watched:
            self._pull()
        n_rows = None if n_batches is None else n_batches * self._batch_size
        logs = self._stack.evaluate(self.validation, n_rows)
        if self._watched:
            show_loss(self.model, logs)
        return logs

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        if self._watched:  # A callback may have changed them.
            self._pull()
        return self._stack.weights()

    def optimizer_state(self):
        """Return the optimizer's state, as it is now."""
        optimizer = self._optimizer
        return [*(slot.copy() for slot in optimizer.slots), np.array(optimizer.n_steps)]

    def set_optimizer_state(self, state):
        """Give the optimizer a state that it has had."""
        *slots, n_steps = state
        for own, slot in zip(self._optimizer.slots, slots, strict=True):
            own[...] = slot
        self._optimizer.n_steps = int(n_steps)

    def finish(self):
        """Give the state its values."""
        if not self._watched:  # Else it has them, and a callback may have changed them.
            self._publish()

    def _rates(self, epoch):
        """Return the learning rates of an epoch's steps."""
        rate = self._state.rate
        if self._schedule is None:
            return itertools.repeat(rate)
        factors = self._schedule.factors(epoch, self.steps)
        # Products as Keras' variable of the rate would have them.
        kind = np.dtype(self._state.rate_dtype).type
        return (kind(rate) * kind(factors)).tolist()

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
        optimizer = self._optimizer
        optimizer.n_steps = self._state.fill(self._stack.parameters, optimizer.slots)

    def _publish(self):
        optimizer = self._optimizer
        self._state.keep(self._stack.parameters, optimizer.slots, optimizer.n_steps)


# Of BLAS: y += a x in place, in one pass.
_AXPY = {"float32": blas.saxpy, "float64": blas.daxpy}


class _Optimizer:
    """A rate, the number of steps taken, and what the optimizer keeps between them."""

    rate: float
    n_steps: int
    slots: list[np.ndarray]

    def step(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        """Change the parameters in place; the gradient is used up."""
        raise NotImplementedError


class _Adam(_Optimizer):
    """Keras' Adam, on one vector of parameters."""

    def __init__(self, settings, stack):
        self._beta_1, self._beta_2 = settings.beta_1, settings.beta_2
        self._in_correction = cast(settings.beta_1), cast(settings.beta_2)
        self._epsilon = settings.epsilon
        self._axpy = _AXPY[stack.parameters.dtype.name]
        self._change = np.empty_like(stack.parameters)
        self.slots = [np.zeros_like(stack.parameters) for _ in range(2)]

    def step(self, parameters, gradient):
        self.n_steps += 1
        (m, v), change, axpy = self.slots, self._change, self._axpy
        beta_1, beta_2 = (beta**self.n_steps for beta in self._in_correction)
        alpha = self.rate * math.sqrt(1.0 - beta_2) / (1.0 - beta_1)
        m *= self._beta_1
        axpy(gradient, m, a=1.0 - self._beta_1)
        gradient *= gradient
        v *= self._beta_2
        axpy(gradient, v, a=1.0 - self._beta_2)
        np.sqrt(v, out=change)
        change += self._epsilon
        np.divide(m, change, out=change)
        axpy(change, parameters, a=-alpha)


class _SGD(_Optimizer):
    """Keras' SGD with its momentum, on one vector of parameters."""

    def __init__(self, settings, stack):
        self._momentum, self._nesterov = cast(settings.momentum), settings.nesterov
        self.slots = [np.zeros_like(stack.parameters)]

    def step(self, parameters, gradient):
        self.n_steps += 1
        gradient *= self.rate
        if not self._momentum:
            parameters -= gradient
            return
        (m,) = self.slots
        m *= self._momentum
        m -= gradient
        if self._nesterov:
            parameters += m * self._momentum
            parameters -= gradient
        else:
            parameters += m


_OPTIMIZERS: dict[str, Callable[[OptimizerSettings, Stack], _Optimizer]] = {
    "adam": _Adam,
    "sgd": _SGD,
}
