"""The compiled epoch: Keras' own train step in one loop.

A `Program` holds functions, no variables: the model's variables are arguments of
every call. So one program, traced and compiled once, trains any number of models
of the same architecture, several at a time.
"""

import contextlib
import threading

import keras
import numpy as np
import tensorflow as tf

from skann.training._cache import PROGRAMS, fingerprint

# Below this many steps, compiling would take longer than the uncompiled graph, which
# takes some 0.5 ms more for each step. Work decides, never a clock, so that the same
# fit always takes the same way.
STEPS_WORTH_COMPILING = 2000

# Rows of one batch of a forward pass: always as many, so that a row's outputs do not
# depend on how many rows were asked for.
_BLOCK = 32

_OUTPUTS = tf.TensorSpec((_BLOCK, None), tf.float64)

# Tracing puts placeholders in the place of a model's variables and uses Keras' global
# state: one at a time.
_TRACING = threading.RLock()


class NotCompilable(Exception):
    """Why a fit cannot run compiled."""


def prepare(model, feed):
    """Create the variables of the model's optimizer and metrics.

    Keras does this in the first call of ``fit``; its method has no public name.
    """
    with _TRACING:
        model._symbolic_build(data_batch=_one_row(feed))


def _one_row(feed):
    return feed.take(np.zeros(1, dtype=np.intp))


class Trainer:
    """Trains one model on a feed, an epoch a call.

    Parameters
    ----------
    model : keras.Model
        Compiled; its variables are created by ``prepare``.
    feed, validation : Feed or None
    batch_size : int
    row_order : callable of (epoch, n_rows)
    n_epochs : int
        Epochs that are planned, which decide whether compiling pays.

    Raises
    ------
    NotCompilable
        With the reason.
    """

    def __init__(self, model, feed, validation, batch_size, row_order, n_epochs):
        _check_compilable(model)
        self.model = model
        self.feed = feed
        self.validation = validation
        self.row_order = row_order
        self.steps = -(-len(feed) // batch_size)
        self._variables = variables_of(model)
        self._values = [v._value for v in self._variables]
        compiled = n_epochs * self.steps >= STEPS_WORTH_COMPILING
        self._train = self._phase(feed, batch_size, "train", compiled)
        if validation is not None:
            self._test = self._phase(validation, batch_size, "test", compiled)

    def _phase(self, feed, batch_size, mode, compiled):
        program = program_for(self.model, feed, batch_size, mode, compiled)
        if compiled:
            program.compile(self._values)
        return Phase(feed, batch_size, program, compiled)

    def epoch(self, epoch):
        """Train for one epoch and return its logs (dict of float)."""
        return self._train.run(self._values, self.row_order(epoch, len(self.feed)))

    def validate(self):
        """Evaluate on the validation rows and return the logs (dict of float)."""
        return self._test.run(self._values, np.arange(len(self.validation)))

    def finish(self):
        """Let the optimizer put its averaged weights in place, as Keras' fit does."""
        if isinstance(self.model.optimizer, keras.optimizers.Optimizer):
            self.model.optimizer.finalize_variable_values(self.model.trainable_weights)


class Phase:
    """One pass over a feed: full batches compiled, the last short one as a graph."""

    def __init__(self, feed, batch_size, program, compiled):
        self.feed = feed
        self.batch_size = batch_size
        self.program = program
        self.compiled = compiled
        self.rows_per_chunk = batch_size * feed.steps_per_chunk(batch_size)

    def run(self, values, order):
        """Run over the feed's rows in this order and return the last logs."""
        in_full = (
            len(order) // self.batch_size * self.batch_size if self.compiled else 0
        )
        logs = {}
        for start in range(0, in_full, self.rows_per_chunk):
            chunk = order[start : min(start + self.rows_per_chunk, in_full)]
            data = [self._padded(part) for part in self.feed.take(chunk)]
            steps = len(chunk) // self.batch_size
            logs = self.program.compiled(values, data, steps, start == 0)
        for start in range(in_full, len(order), self.rows_per_chunk):
            chunk = order[start : start + self.rows_per_chunk]
            steps = -(-len(chunk) // self.batch_size)
            logs = self.program.graph(values, self.feed.take(chunk), steps, start == 0)
        return {name: float(value) for name, value in logs.items()}

    def _padded(self, part):
        """Bring a chunk to the one length that the program is compiled for."""
        missing = self.rows_per_chunk - len(part)
        if not missing:
            return part
        return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])


class Program:
    """The loops over one kind of step ("train" or "test") of one architecture.

    ``graph`` and ``compiled`` take the model's variables, the data (x, y and perhaps
    weights), the number of steps, and whether they are the first of an epoch, which
    resets the metrics. The first is an ordinary graph that takes any number of rows,
    the second one XLA program for chunks of a fixed length.
    """

    def __init__(self, model, feed, batch_size, mode, compiled):
        self._model = model
        self._batch_size = batch_size
        self._compiling = threading.Lock()
        self._is_compiled = False
        self._variables = variables_of(model)
        values = [v._value for v in self._variables]
        with _TRACING:
            self._trace(model, feed, mode, values, compiled)
        # The template has served; what was traced holds none of its variables.
        del self._model, self._variables

    def _trace(self, model, feed, mode, values, compiled):
        self._step = model.train_step if mode == "train" else model.test_step
        rows = _one_row(feed)
        anything = [tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in rows]
        chunk = self._batch_size * feed.steps_per_chunk(self._batch_size)
        self._fixed = [tf.TensorSpec((chunk, *p.shape[1:]), p.dtype) for p in rows]
        count, flag = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool)
        self._step_function = tf.function(self._one_step, autograph=False)
        try:
            traced = self._step_function.get_concrete_function(values, anything)
        except Exception as error:
            raise NotCompilable(_one_line(error)) from error
        if traced.captured_inputs:
            raise NotCompilable("the model uses variables that are not its own")
        self._logs = traced.structured_outputs
        # Logs that are a step's own, and not what the metrics have gathered.
        self._carry = set(self._logs) != set(model.get_metrics_result())
        graph = tf.function(self._loop, autograph=False)
        self._graph = graph.get_concrete_function(values, anything, count, flag)
        if compiled:
            xla = tf.function(self._loop, autograph=False, jit_compile=True)
            self._xla = xla.get_concrete_function(values, self._fixed, count, flag)
        # What was traced is all that is needed.
        del self._step, self._step_function

    def _one_step(self, values, data):
        with _standing_in(self._variables, values):
            return self._step(tuple(data))

    def _loop(self, values, data, n_steps, is_first):
        with _standing_in(self._variables, values):
            tf.cond(is_first, self._reset_metrics, lambda: tf.constant(0))
        size = self._batch_size
        n_rows = tf.shape(data[0])[0]

        def step(i, logs):
            start = i * size
            batch = [
                _rows(part, start, tf.minimum(size, n_rows - start)) for part in data
            ]
            if data[0].shape[0] is not None:
                batch = [_rows(part, start, size) for part in data]
            new = self._step_function(values, batch)
            return i + 1, new if self._carry else logs

        nothing = {k: tf.zeros(v.shape, v.dtype) for k, v in self._logs.items()}
        logs = nothing if self._carry else {}
        _, logs = tf.while_loop(lambda i, _: i < n_steps, step, [0, logs])
        if self._carry:
            return logs
        with _standing_in(self._variables, values):
            return {
                k: tf.identity(v) for k, v in self._model.get_metrics_result().items()
            }

    def _reset_metrics(self):
        self._model.reset_metrics()
        return tf.constant(0)

    def compile(self, values):
        """Have XLA compile the program, by a step on copies of the variables.

        Raises
        ------
        NotCompilable
            If the model uses an operation that XLA does not have.
        """
        with self._compiling:
            if self._is_compiled:
                return
            copies = [tf.Variable(v, trainable=v.trainable) for v in values]
            nothing = [np.zeros(p.shape, p.dtype.as_numpy_dtype) for p in self._fixed]
            try:
                self.compiled(copies, nothing, 1, True)
            except tf.errors.OpError as error:
                reason = f"XLA cannot compile it ({_one_line(error)})"
                raise NotCompilable(reason) from error
            self._is_compiled = True

    def graph(self, values, data, n_steps, is_first):
        """Run as an ordinary graph; the last batch may be short."""
        return _call(self._graph, values, data, n_steps, is_first)

    def compiled(self, values, data, n_steps, is_first):
        """Run as one XLA program over full batches."""
        return _call(self._xla, values, data, n_steps, is_first)


def _call(function, values, data, n_steps, is_first):
    data = [tf.constant(part) for part in data]
    return function(values, data, tf.constant(n_steps), tf.constant(is_first))


def _rows(part, start, size):
    rest = part.shape[1:]
    return tf.slice(part, [start] + [0] * len(rest), [size, *rest])


def program_for(model, feed, batch_size, mode, compiled):
    """Return the program for a model's architecture, tracing it where it is new."""
    data = tuple((part.shape[1:], str(part.dtype)) for part in _one_row(feed))
    how = (batch_size, mode, compiled)
    key = (fingerprint(model), data, *how)
    return PROGRAMS.get(key, lambda: Program(model, feed, *how))


def read(variable):
    """Return the value of a Keras variable as an array.

    As ``variable.numpy()``, by a tenth of the detours: it is called for every weight
    at every epoch's end and in every prediction.
    """
    value = variable._value
    tensor = tf.raw_ops.ReadVariableOp(resource=value.handle, dtype=value.dtype)
    return tensor.numpy()


def weights_of(model):
    """Return the values of a model's weights, as ``model.get_weights`` does, faster."""
    return [read(variable) for variable in model.weights]


def variables_of(model):
    """Return every variable that training uses, each once, in a fixed order."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    variables = [*model.variables, *optimizer, *model.metrics_variables]
    return list({id(v): v for v in variables}.values())


@contextlib.contextmanager
def _standing_in(variables, values):
    """Let a model's variables stand for the arguments of the function being traced.

    A Keras variable keeps its tensorflow variable in ``_value``, and has no public
    way to lend it another.
    """
    own = [v._value for v in variables]
    for variable, value in zip(variables, values, strict=True):
        variable._value = value
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable._value = value


def _check_compilable(model):
    if model.run_eagerly:
        raise NotCompilable("the model is compiled with run_eagerly=True")
    for name in ("inputs", "outputs"):
        if len(getattr(model, name, None) or ()) > 1:
            raise NotCompilable(f"the model has several {name}")


def _one_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


class ForwardProgram:
    """The forward pass of one architecture, over any number of rows."""

    def __init__(self, model, row_shape):
        self._model = model
        values = [v._value for v in model.variables]
        rows = tf.TensorSpec((None, *row_shape), input_dtype(model))
        with _TRACING:
            self._run = tf.function(
                self._blocks, autograph=False
            ).get_concrete_function(values, rows)
        del self._model

    def _blocks(self, values, x):
        """Run block after block; the rows are a whole number of them."""
        rest = x.shape[1:]
        blocks = tf.reshape(x, [-1, _BLOCK, *rest])
        with _standing_in(self._model.variables, values):
            outputs = tf.map_fn(self._block, blocks, fn_output_signature=_OUTPUTS)
        return tf.reshape(outputs, [-1, tf.shape(outputs)[-1]])

    def _block(self, x):
        return tf.cast(self._model(x, training=False), tf.float64)

    def __call__(self, values, x):
        missing = -len(x) % _BLOCK
        padded = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
        return self._run(values, tf.constant(padded)).numpy()[: len(x)]


class Forward:
    """A model's forward pass, by the program of its architecture."""

    def __init__(self, model, row_shape):
        self.dtype = np.dtype(input_dtype(model))
        key = (fingerprint(model), tuple(row_shape), "forward")
        self._program = PROGRAMS.get(key, lambda: ForwardProgram(model, row_shape))
        self._values = [v._value for v in model.variables]

    def __call__(self, x):
        """Return the outputs of rows x, as a float64 array."""
        return self._program(self._values, x)


def input_dtype(model):
    """Return the floating type in which a model is given its rows and targets.

    That of its weights: a model's own ``variable_dtype`` says nothing of its layers.
    """
    kinds = (v.dtype for v in model.weights)
    return next((k for k in kinds if k in ("float32", "float64")), "float32")
