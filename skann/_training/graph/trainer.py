"""A model, its feeds and the programs that train it, an epoch a call."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from skann._keras.variables import read
from skann._runtime import fork
from skann._training.graph.program import check_compilable, program_for
from skann._training.graph.program_variables import ProgramVariables
from skann._training.graph.widths import shared_units
from skann._training.numpy.recognised import Evaluation, is_evaluated_in_numpy
from skann._training.numpy.stack import show_loss
from skann._training.work import compiling_pays


class Trainer:
    """Trains one model on a feed, an epoch a call.

    Parameters
    ----------
    model : keras.Model
        Compiled; its variables are created by ``prepare``.
    feed, validation : Feed or None
    batch_size : int
    row_order : callable of (epoch, n_rows)
    n_steps : int
        Steps that are planned, which decide whether compiling pays.
    watched : bool
        Whether callbacks may look at the model, or change it, between epochs. If not,
        its variables may have their values at the end only.
    unit : Unit or None
        How gradients go back through the layer of y's unit, if there is one.
    schedule : Schedule, default=None
        Of the learning rate.

    Attributes
    ----------
    engine : {"compiled", "graph"}
        What the steps run as.

    Raises
    ------
    NotCompilable
        With the reason.
    """

    def __init__(
        self,
        model,
        feed,
        validation,
        batch_size,
        row_order,
        n_steps,
        watched,
        unit,
        schedule=None,
    ):
        fork.check()
        check_compilable(model)
        self.model = model
        self.feed = feed
        self.validation = validation
        self.row_order = row_order
        self.steps = -(-len(feed) // batch_size)
        self._batch_size = batch_size
        self._watched = watched
        self._schedule = schedule
        self._weights = None
        self._variables = ProgramVariables(model, unit)
        is_compiled = compiling_pays(n_steps) and len(feed) >= batch_size
        self.engine = "compiled" if is_compiled else "graph"
        mode = "train" if schedule is None else "scheduled"
        self._train = self._pass_over(feed, batch_size, mode, n_steps)
        # The loss of a plain stack needs no program of its own.
        self._evaluation = None
        known = feed.rows_dtype == feed.dtype and (
            is_evaluated_in_numpy(model, feed.row_shape, dropout=True)
        )
        if validation is not None and known:
            self._evaluation = Evaluation(model, validation)
        with _meanwhile(self._train.compile, self._train.needs_compiling):
            if validation is not None and self._evaluation is None:
                self._test = self._pass_over(validation, batch_size, "test", n_steps)
                if self._test.needs_compiling:
                    self._test.compile()

    def _pass_over(self, feed, batch_size, mode, n_steps):
        pays = compiling_pays(n_steps)
        units = shared_units(self.model, n_steps) if pays else None
        how = (batch_size, mode, pays and len(feed) >= batch_size)
        program = program_for(self.model, units, feed, *how)
        self._variables.take_shapes(program.shapes)
        return Pass(feed, batch_size, program, self._variables.values)

    def epoch(self, epoch):
        """Train for one epoch and return its logs (dict of float)."""
        return self.first_batches(epoch, self.steps)

    def first_batches(self, epoch, n_batches):
        """Train on the first batches of an epoch only and return its logs."""
        if self._watched:
            self._variables.pull()
        self._weights = None
        order = self.row_order(epoch, len(self.feed))
        factors = self._schedule and self._schedule.factors(epoch, self.steps)
        logs = self._train.run(order[: n_batches * self._batch_size], factors)
        if self._watched:
            self._variables.publish()
        return logs

    def validate(self, n_batches=None):
        """Evaluate on the validation rows, or their first batches; return logs."""
        if self._watched:
            self._variables.pull()
        few = [] if n_batches is None else [n_batches * self._batch_size]
        if self._evaluation is not None:
            logs = self._evaluation.logs(self.weights(), *few)
            if self._watched:
                show_loss(self.model, logs)
            return logs
        return self._test.run(np.arange(len(self.validation))[slice(*few or [None])])

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        if self._watched:  # A callback may have changed them.
            self._variables.pull()
            return self._variables.weights()
        # Two callbacks and the validation ask for them in each epoch.
        if self._weights is None:
            self._weights = self._variables.weights()
        return self._weights

    def optimizer_state(self):
        """Return the optimizer's state, as it is now."""
        return read(self._variables.of_optimizer)

    def set_optimizer_state(self, state):
        """Give the optimizer a state that it has had."""
        for variable, value in zip(self._variables.of_optimizer, state, strict=True):
            variable.assign(value)

    def finish(self):
        """Give the model its variables, averaged weights as Keras' fit does."""
        if not self._watched:  # Else it has them, and a callback may have changed them.
            self._variables.publish()
        finalize(self.model)


def finalize(model):
    """Give a model the averaged weights of its optimizer, if it keeps any."""
    if isinstance(model.optimizer, keras.optimizers.Optimizer):
        model.optimizer.finalize_variable_values(model.trainable_weights)


@contextlib.contextmanager
def _meanwhile(work, needed):
    """Do something in another thread while the block runs, if it is needed.

    tensorflow compiles without Python's lock: one program while the other is traced.
    """
    if not needed:
        yield
        return
    with ThreadPoolExecutor(1) as elsewhere:
        doing = elsewhere.submit(work)
        yield
        doing.result()


class Pass:
    """One pass of a model's program over a feed."""

    def __init__(self, feed, batch_size, program, variables):
        self.feed = feed
        self.batch_size = batch_size
        self.program = program
        self._variables = variables
        self._handles = [variable.handle for variable in variables]
        self._steps_per_chunk = feed.steps_per_chunk(batch_size)
        self.rows_per_chunk = batch_size * self._steps_per_chunk

    @property
    def needs_compiling(self):
        """Whether the program is one of XLA's, not compiled yet."""
        return self.program.is_xla and not self.program.is_compiled

    def compile(self):
        """Have the program compiled."""
        self.program.compile(self._variables)

    def run(self, order, factors=None):
        """Run over the feed's rows in this order and return the last logs.

        `factors` are those of the steps, where the program takes them.
        """
        factors = [] if factors is None else [factors]
        end = len(order)
        if self.program.is_xla and not self.program.fills_up:
            end -= end % self.batch_size
        logs = {}
        for start in range(0, end, self.rows_per_chunk):
            chunk = order[start : min(start + self.rows_per_chunk, end)]
            data = self.feed.take(chunk)
            first = start // self.batch_size
            more = [part[first : first + self._steps_per_chunk] for part in factors]
            if self.program.is_xla:
                data = [_padded(part, self.rows_per_chunk) for part in data]
                more = [_padded(part, self._steps_per_chunk) for part in more]
            logs = self.program.loop(self._handles, data, len(chunk), start == 0, *more)
        if end < len(order):
            more = [part[end // self.batch_size] for part in factors]
            logs = self.program.step(self._handles, self.feed.take(order[end:]), *more)
        return {name: float(value) for name, value in logs.items()}


def _padded(part, length):
    """Bring a chunk to the one length that a program is compiled for."""
    missing = length - len(part)
    if not missing:
        return part
    # Of a row that is there: zeros might be what a layer cannot take.
    return np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
