"""The compiled epoch: Keras' own train step in one loop.

A `Program` holds functions, no variables: the model's variables are arguments of
every call. So one program, traced and compiled once, trains any number of models
of the same architecture, several at a time.
"""

import threading

import keras
import numpy as np
import tensorflow as tf

from skann._keras.layers import is_plain_stack
from skann._keras.lending import own_values, standing_in
from skann._keras.structure import as_declared
from skann._keras.unit_layer import Constant, rescaling_by
from skann._keras.variables import variables_of
from skann._runtime import disk_cache, private
from skann._runtime.start import is_limited_by_keras
from skann._training.graph.cache import PROGRAMS, description_of
from skann._training.graph.last_batch import can_be_filled_up, counting_some, filled_up
from skann._training.graph.tracing import (
    fast_in_xla,
    plain_dropouts,
    same_names_everywhere,
)
from skann._training.graph.unsupported import what_xla_lacks
from skann._training.graph.widths import widened
from skann._training.scaled_rate import scaled_rate


class NotCompilable(Exception):
    """Why a fit cannot run compiled."""


def prepare(model, feed):
    """Create the variables of the model's optimizer and metrics.

    Keras does this in the first call of ``fit``. To build a loss it traces the whole
    model, which takes longer than a small fit; where model and loss are known to fit
    together, their shapes say all.
    """
    row = _one_row(feed)
    if is_plain_stack(model) and type(model.loss) in _PLAIN_LOSSES:
        y = keras.KerasTensor(row[1].shape, str(row[1].dtype))
        private.build_loss(model, y)
    x, *rest = row
    private.create_variables(model, (as_declared(model, x), *rest))


# Of rows whose shape is that of the outputs, or of one class number each.
_PLAIN_LOSSES = {
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.Huber,
    keras.losses.BinaryCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
}


def _one_row(feed):
    return feed.take(np.zeros(1, dtype=np.intp))


def check_compilable(model, batch_callback=None):
    if batch_callback is not None:
        raise NotCompilable(f"the callback {batch_callback} is called every batch")
    if model.run_eagerly:
        raise NotCompilable("the model is compiled with run_eagerly=True")
    if is_limited_by_keras():
        raise NotCompilable("keras.config limits epochs, or the steps of one")
    for name in ("inputs", "outputs"):
        if len(getattr(model, name, None) or ()) > 1:
            raise NotCompilable(f"the model has several {name}")


def _one_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


class Program:
    """The loop over one kind of step of one architecture.

    The kinds (`mode`) are "train", "test", and "scheduled": to train with a factor of
    the learning rate for each step, which is an argument as rows are.

    It is either an ordinary graph, which takes any number of rows, or a program of
    XLA's for chunks of a fixed length. Then the last, short batch of an epoch is filled
    up where that changes nothing, and a step by itself elsewhere.
    """

    def __init__(self, model, description, feed, batch_size, mode, is_xla):
        self.is_xla = is_xla
        self.fills_up = is_xla and can_be_filled_up(model)
        self._model = model
        self._batch_size = batch_size
        self._compiling = threading.Lock()
        self.is_compiled = False
        self._variables = variables_of(model)
        self.shapes = [tuple(v.shape) for v in self._variables]
        values = own_values(self._variables)
        constants = [v for v in self._variables if isinstance(v, Constant)]
        with (
            rescaling_by(model, constants),
            same_names_everywhere(model, description, mode, batch_size) as layers,
        ):
            self._layers = layers
            self._trace(model, feed, mode, values)
        # The template has served; what was traced holds none of its variables. Only to
        # trace it once more, after a failure, they must be there still.
        self._traced_with = values if is_xla else None
        del self._model, self._variables

    def _trace(self, model, feed, mode, values):
        self._take_step = model.test_step if mode == "test" else model.train_step
        rows = _one_row(feed)
        n_steps = length = None
        if self.is_xla:
            n_steps = feed.steps_per_chunk(self._batch_size)
            length = self._batch_size * n_steps
        self._data = _specs(rows, length)
        is_scheduled = mode == "scheduled"
        # The further arguments: of a step, and of the loop.
        self._factor = [tf.TensorSpec((), tf.float64)] * is_scheduled
        self._factors = [tf.TensorSpec((n_steps,), tf.float64)] * is_scheduled
        batch = _specs(rows, self._batch_size if self.fills_up else None)
        dropouts = plain_dropouts(model) if self.is_xla else []
        try:
            # A filled-up batch is never a step by itself, outside of XLA.
            with fast_in_xla(dropouts if self.fills_up else []):
                self._step = self._traced_step(values, batch)
        except Exception as error:
            raise NotCompilable(_one_line(error)) from error
        # What else was captured are constants, the mean that a layer holds, say.
        if any(tensor.dtype == tf.resource for tensor in self._step.captured_inputs):
            raise NotCompilable("the model uses variables that are not its own")
        for name, output in self._step.structured_outputs.items():
            if output.shape.rank != 0:
                raise NotCompilable(f"a step reports {name!r}, which is no number")
        # Logs that are a step's own, and not what the metrics have gathered.
        self._carry = set(self._step.structured_outputs) != set(
            model.get_metrics_result()
        )
        self._step_of_loop = self._step
        loop = tf.function(self._steps, autograph=False, jit_compile=self.is_xla)
        if dropouts and not self.fills_up:
            with fast_in_xla(dropouts):
                self._step_of_loop = self._traced_step(values, batch)
        self._loop = loop.get_concrete_function(
            values, self._data, _COUNT, _FLAG, *self._factors
        )
        self._name = self._loop.name.decode()
        # What was traced is all that is needed.
        del self._take_step, self._step_of_loop

    def _traced_step(self, values, batch):
        step = tf.function(self._one_step, autograph=False)
        return step.get_concrete_function(values, batch, _COUNT, *self._factor)

    def _one_step(self, values, data, n_rows, *factor):
        """Take a step on the first `n_rows` rows, which are all unless it fills up."""
        with standing_in(self._variables, values), scaled_rate(self._model, *factor):
            if not self.fills_up:
                x, *rest = data
                rows = (as_declared(self._model, x), *rest)
                return self._logs(self._take_step(rows))
            data, *counted = filled_up(data, n_rows)
            with counting_some(self._model, n_rows, *counted):
                return self._logs(self._take_step(data))

    def _logs(self, logs):
        """Return what Keras makes of a step's logs: those of the metrics, if alike."""
        gathered = self._model.get_metrics_result()
        return gathered if gathered.keys() == logs.keys() else logs

    def _steps(self, values, data, n_rows, is_first, *factors):
        with standing_in(self._variables, values):
            tf.cond(is_first, self._reset_metrics, lambda: tf.constant(0))
        size = self._batch_size

        def step(i, logs):
            start = i * size
            n = tf.minimum(size, n_rows - start)
            batch = [_rows(part, start, size if self.is_xla else n) for part in data]
            factor = [part[i] for part in factors]
            new = self._step_of_loop(values, batch, n, *factor)
            return i + 1, new if self._carry else logs

        outputs = self._step.structured_outputs
        nothing = {k: tf.zeros(v.shape, v.dtype) for k, v in outputs.items()}
        logs = nothing if self._carry else {}
        n_steps = (n_rows + size - 1) // size
        _, logs = tf.while_loop(lambda i, _: i < n_steps, step, [0, logs])
        if self._carry:
            return logs
        with standing_in(self._variables, values):
            return {
                k: tf.identity(v) for k, v in self._model.get_metrics_result().items()
            }

    def _reset_metrics(self):
        self._model.reset_metrics()
        return tf.constant(0)

    def compile(self, variables):
        """Have XLA compile the program, by a step on copies of the variables.

        Raises
        ------
        NotCompilable
            If the model uses an operation that XLA does not have.
        """
        with self._compiling:
            if self.is_compiled:
                return
            copies = [tf.Variable(v, trainable=v.trainable) for v in variables]
            try:
                with disk_cache.compiling(self._name):
                    self._try(copies)
            except tf.errors.OpError as error:
                what = what_xla_lacks(error, self._layers)
                reason = f"XLA cannot compile it ({what})"
                raise NotCompilable(reason) from error
            self.is_compiled = True
            self._traced_with = None

    def _try(self, variables):
        handles = [variable.handle for variable in variables]
        data, factors = _zeros(self._data), _zeros(self._factors)
        try:
            self.loop(handles, data, self._batch_size, True, *factors)
        except tf.errors.OpError:
            # It may have been an entry of the disk cache that could not be read.
            # tensorflow remembers what failed by the function.
            if not disk_cache.drop(self._name):
                raise
            failed = self._loop
            again = tf.function(
                lambda *arguments: failed(*arguments), autograph=False, jit_compile=True
            )
            self._loop = again.get_concrete_function(
                variables, self._data, _COUNT, _FLAG, *self._factors
            )
            self.loop(handles, data, self._batch_size, True, *factors)

    def loop(self, handles, data, n_rows, is_first, *factors):
        """Run steps over the first rows of data and return the last logs.

        Data are x, y and perhaps weights. A short last batch is only allowed where the
        program is none of XLA's, or fills it up.

        `handles` are those of the model's variables. The first steps of an epoch reset
        the metrics. `factors`, of each step, are for "scheduled" ones only.
        """
        arguments = (*data, n_rows, is_first, *factors)
        return private.call_flat(self._loop, [*handles, *map(tf.constant, arguments)])

    def step(self, handles, data, *factor):
        """Run one step over a batch of any number of rows and return its logs."""
        arguments = (*data, len(data[0]), *factor)
        return private.call_flat(self._step, [*handles, *map(tf.constant, arguments)])


_COUNT, _FLAG = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool)


def _specs(rows, length):
    """Describe so many rows, each like the one given; None is any number."""
    return [tf.TensorSpec((length, *part.shape[1:]), part.dtype) for part in rows]


def _zeros(specs):
    return [np.zeros(spec.shape, spec.dtype.as_numpy_dtype) for spec in specs]


def _rows(part, start, size):
    rest = part.shape[1:]
    return tf.slice(part, [start] + [0] * len(rest), [size, *rest])


def program_for(model, units, feed, batch_size, mode, compiled):
    """Return the program for a model's architecture, tracing it where it is new.

    With `units`, it is for the model with these units in its hidden layers.
    """
    data = tuple((part.shape[1:], str(part.dtype)) for part in _one_row(feed))
    how = (batch_size, mode, compiled)
    description = description_of(model, units)
    if units is not None and description.is_unique:
        units, description = None, description_of(model)

    def make():
        template = _template(model, units, feed, description)
        return template and Program(template, description, feed, *how)

    program = PROGRAMS.get(description, (data, *how), make)
    if program is None:
        return program_for(model, None, feed, *how)
    return program


def _template(model, units, feed, description):
    """Return the model to trace, or None where it cannot be made wider.

    It is made of a model's configuration, which does not tell all that may have been
    changed of its parts.
    """
    if units is None:
        return model
    try:
        template = widened(model, units)
    except Exception:  # Whatever a class of the user's raises for its configuration.
        return None
    prepare(template, feed)
    is_alike = description_of(template, units).key == description.key
    return template if is_alike else None
