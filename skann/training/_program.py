"""The compiled epoch: Keras' own train step in one loop.

A `Program` holds functions, no variables: the model's variables are arguments of
every call. So one program, traced and compiled once, trains any number of models
of the same architecture, several at a time.
"""

import contextlib
import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

# No public way leads to an operation without the checks of its Python wrapper, or to
# the numbers in the names of traced functions.
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context as tf_context
from tensorflow.python.framework import ops as tf_ops

from skann import _disk_cache
from skann.training._cache import PROGRAMS, fingerprint, first_number
from skann.training._layers import is_plain_stack
from skann.training._stack import Evaluation, is_known
from skann.training._widths import cut, pad, shared_units, widened

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


def compiling_pays(n_steps):
    """Whether so many steps take longer than compiling them does."""
    return n_steps >= STEPS_WORTH_COMPILING


def prepare(model, feed):
    """Create the variables of the model's optimizer and metrics.

    Keras does this in the first call of ``fit``; its method has no public name. To
    build a loss it traces the whole model, which takes longer than a small fit; where
    model and loss are known to fit together, their shapes say all.
    """
    row = _one_row(feed)
    with _TRACING:
        if is_plain_stack(model) and type(model.loss) in _PLAIN_LOSSES:
            y = keras.KerasTensor(row[1].shape, str(row[1].dtype))
            model._compile_loss.build(y, model.outputs[0])
        model._symbolic_build(data_batch=row)


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

    Raises
    ------
    NotCompilable
        With the reason.
    """

    def __init__(
        self, model, feed, validation, batch_size, row_order, n_steps, watched
    ):
        _check_compilable(model)
        self.model = model
        self.feed = feed
        self.validation = validation
        self.row_order = row_order
        self.steps = -(-len(feed) // batch_size)
        self._watched = watched
        self._variables = _Variables(model)
        self._train = self._phase(feed, batch_size, "train", n_steps)
        # The loss of a plain stack needs no program of its own.
        self._evaluation = None
        if validation is not None and is_known(model, feed.row_shape, dropout=True):
            self._evaluation = Evaluation(model, validation)
        with _meanwhile(self._train.compile, self._train.needs_compiling):
            if validation is not None and self._evaluation is None:
                self._test = self._phase(validation, batch_size, "test", n_steps)
                if self._test.needs_compiling:
                    self._test.compile()

    def _phase(self, feed, batch_size, mode, n_steps):
        compiled = compiling_pays(n_steps) and len(feed) >= batch_size
        units = shared_units(self.model, n_steps) if compiling_pays(n_steps) else None
        how = (batch_size, mode, compiled)
        program = program_for(self.model, units, feed, *how)
        self._variables.take_shapes(program.shapes)
        return Phase(feed, batch_size, program, self._variables.values)

    def epoch(self, epoch):
        """Train for one epoch and return its logs (dict of float)."""
        if self._watched:
            self._variables.pull()
        logs = self._train.run(self.row_order(epoch, len(self.feed)))
        if self._watched:
            self._variables.publish()
        return logs

    def validate(self):
        """Evaluate on the validation rows and return the logs (dict of float)."""
        if self._evaluation is not None:
            return self._evaluation.logs(self.weights())
        return self._test.run(np.arange(len(self.validation)))

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        return self._variables.weights()

    def finish(self):
        """Give the model its variables, averaged weights as Keras' fit does."""
        self._variables.publish()
        if isinstance(self.model.optimizer, keras.optimizers.Optimizer):
            self.model.optimizer.finalize_variable_values(self.model.trainable_weights)


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


class _Variables:
    """A model's variables as a program takes them.

    Most are the model's own. Where the program is for wider layers, others stand in
    for those of another shape.
    """

    def __init__(self, model):
        self._keras = variables_of(model)
        self._weights = model.weights
        self.values = [v._value for v in self._keras]
        self._padded = []

    def take_shapes(self, shapes):
        """Make stand-ins for variables that a program takes in other shapes."""
        if self._padded:
            return
        for i, (variable, shape) in enumerate(zip(self._keras, shapes, strict=True)):
            if tuple(variable.shape) != shape:
                self.values[i] = tf.Variable(
                    tf.zeros(shape, variable.dtype), trainable=variable.trainable
                )
                self._padded.append(i)
        self._published = [None] * len(self._padded)
        self.pull()

    def pull(self):
        """Give the stand-ins what the model's variables hold, where it is new."""
        own = read([self._keras[i]._value for i in self._padded])
        for k, (i, value) in enumerate(zip(self._padded, own, strict=True)):
            known = self._published[k]
            if known is None or not np.array_equal(value, known, equal_nan=True):
                self.values[i].assign(pad(value, self.values[i].shape))

    def publish(self):
        """Give the model's variables what the stand-ins hold."""
        stand_ins = read([self.values[i] for i in self._padded])
        for k, (i, value) in enumerate(zip(self._padded, stand_ins, strict=True)):
            own = cut(value, self._keras[i].shape)
            self._published[k] = own
            self._keras[i]._value.assign(own)

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        at = {id(v): value for v, value in zip(self._keras, self.values, strict=True)}
        values = read([at[id(v)] for v in self._weights])
        return [
            cut(value, v.shape) for v, value in zip(self._weights, values, strict=True)
        ]


class Phase:
    """One pass of a model's program over a feed."""

    def __init__(self, feed, batch_size, program, variables):
        self.feed = feed
        self.batch_size = batch_size
        self.program = program
        self._variables = variables
        self._handles = [variable.handle for variable in variables]
        self.rows_per_chunk = batch_size * feed.steps_per_chunk(batch_size)

    @property
    def needs_compiling(self):
        """Whether the program is one of XLA's, not compiled yet."""
        return self.program.is_xla and not self.program.is_compiled

    def compile(self):
        """Have the program compiled."""
        self.program.compile(self._variables)

    def run(self, order):
        """Run over the feed's rows in this order and return the last logs."""
        end = len(order)
        if self.program.is_xla:
            end -= end % self.batch_size
        logs = {}
        for start in range(0, end, self.rows_per_chunk):
            chunk = order[start : min(start + self.rows_per_chunk, end)]
            data = self.feed.take(chunk)
            if self.program.is_xla:
                data = [self._padded(part) for part in data]
            steps = -(-len(chunk) // self.batch_size)
            logs = self.program.loop(self._handles, data, steps, start == 0)
        if end < len(order):
            logs = self.program.step(self._handles, self.feed.take(order[end:]))
        return {name: float(value) for name, value in logs.items()}

    def _padded(self, part):
        """Bring a chunk to the one length that the program is compiled for."""
        missing = self.rows_per_chunk - len(part)
        if not missing:
            return part
        return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])


class Program:
    """The loop over one kind of step ("train" or "test") of one architecture.

    It is either an ordinary graph, which takes any number of rows, or a program of
    XLA's for chunks of a fixed length; then the last, short batch of an epoch is a
    step by itself.
    """

    def __init__(self, model, feed, batch_size, mode, is_xla):
        self.is_xla = is_xla
        self._model = model
        self._batch_size = batch_size
        self._compiling = threading.Lock()
        self.is_compiled = False
        self._variables = variables_of(model)
        self.shapes = [tuple(v.shape) for v in self._variables]
        values = [v._value for v in self._variables]
        with _TRACING, _same_names_everywhere(model, mode, batch_size):
            self._trace(model, feed, mode, values)
        # The template has served; what was traced holds none of its variables. Only to
        # trace it once more, after a failure, they must be there still.
        self._traced_with = values if is_xla else None
        del self._model, self._variables

    def _trace(self, model, feed, mode, values):
        self._take_step = model.train_step if mode == "train" else model.test_step
        rows = _one_row(feed)
        length = None
        if self.is_xla:
            length = self._batch_size * feed.steps_per_chunk(self._batch_size)
        anything, self._data = (
            [tf.TensorSpec((n, *part.shape[1:]), part.dtype) for part in rows]
            for n in (None, length)
        )
        step = tf.function(self._one_step, autograph=False)
        try:
            self._step = step.get_concrete_function(values, anything)
        except Exception as error:
            raise NotCompilable(_one_line(error)) from error
        if self._step.captured_inputs:
            raise NotCompilable("the model uses variables that are not its own")
        # Logs that are a step's own, and not what the metrics have gathered.
        self._carry = set(self._step.structured_outputs) != set(
            model.get_metrics_result()
        )
        self._step_of_loop = self._step
        loop = tf.function(self._steps, autograph=False, jit_compile=self.is_xla)
        dropouts = _plain_dropouts(model) if self.is_xla else []
        with _fast_in_xla(dropouts):
            if dropouts:
                self._step_of_loop = tf.function(self._one_step, autograph=False)
            self._loop = loop.get_concrete_function(values, self._data, _COUNT, _FLAG)
        # What was traced is all that is needed.
        del self._take_step, self._step_of_loop

    def _one_step(self, values, data):
        with _standing_in(self._variables, values):
            return self._take_step(tuple(data))

    def _steps(self, values, data, n_steps, is_first):
        with _standing_in(self._variables, values):
            tf.cond(is_first, self._reset_metrics, lambda: tf.constant(0))
        size = self._batch_size
        n_rows = tf.shape(data[0])[0]

        def step(i, logs):
            start = i * size
            n = size if self.is_xla else tf.minimum(size, n_rows - start)
            batch = [_rows(part, start, n) for part in data]
            new = self._step_of_loop(values, batch)
            return i + 1, new if self._carry else logs

        outputs = self._step.structured_outputs
        nothing = {k: tf.zeros(v.shape, v.dtype) for k, v in outputs.items()}
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
            nothing = [np.zeros(p.shape, p.dtype.as_numpy_dtype) for p in self._data]
            try:
                self._try(copies, nothing)
            except tf.errors.OpError as error:
                reason = f"XLA cannot compile it ({_one_line(error)})"
                raise NotCompilable(reason) from error
            _disk_cache.keep_new_entries()
            self.is_compiled = True
            self._traced_with = None

    def _try(self, variables, data):
        handles = [variable.handle for variable in variables]
        try:
            self.loop(handles, data, 1, True)
        except tf.errors.OpError:
            # It may have been an entry of the disk cache that could not be read, or
            # not be written. tensorflow remembers what failed by the function.
            if not _disk_cache.discard():
                raise
            failed = self._loop
            again = tf.function(
                lambda *arguments: failed(*arguments), autograph=False, jit_compile=True
            )
            self._loop = again.get_concrete_function(
                variables, self._data, _COUNT, _FLAG
            )
            self.loop(handles, data, 1, True)

    def loop(self, handles, data, n_steps, is_first):
        """Run steps over data (x, y and perhaps weights) and return the last logs.

        `handles` are those of the model's variables. The first steps of an epoch reset
        the metrics.
        """
        count, flag = tf.constant(n_steps), tf.constant(is_first)
        return _call(self._loop, [*handles, *map(tf.constant, data), count, flag])

    def step(self, handles, data):
        """Run one step over a batch of any number of rows and return its logs."""
        return _call(self._step, [*handles, *map(tf.constant, data)])


_COUNT, _FLAG = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.bool)


def _call(function, tensors):
    """Call a traced function with its flat arguments.

    Its own call sorts and checks nested arguments by their names, which takes as long
    as a small epoch; nothing public takes them as they are.
    """
    return function._call_flat(tensors, function.captured_inputs)


def _rows(part, start, size):
    rest = part.shape[1:]
    return tf.slice(part, [start] + [0] * len(rest), [size, *rest])


def program_for(model, units, feed, batch_size, mode, compiled):
    """Return the program for a model's architecture, tracing it where it is new.

    With `units`, it is for the model with these units in its hidden layers.
    """
    data = tuple((part.shape[1:], str(part.dtype)) for part in _one_row(feed))
    how = (batch_size, mode, compiled)
    key = (fingerprint(model, units), data, *how)

    def make():
        return Program(_template(model, units, feed), feed, *how)

    return PROGRAMS.get(key, make)


def _template(model, units, feed):
    """Return the model to trace."""
    if units is None:
        return model
    template = widened(model, units)
    prepare(template, feed)
    return template


def read(values):
    """Return the values of tensorflow's variables as read-only arrays.

    As ``variable.numpy()``, in one operation for all of them: it is called at every
    epoch's end and in every prediction. The arrays are tensorflow's own memory, which
    it does not write to while they are held.
    """
    if not values:
        return []
    tensors = pywrap_tfe.TFE_Py_FastPathExecute(
        tf_context.context(),
        "_ReadVariablesOp",
        None,
        [value.handle for value in values],
        "dtypes",
        [value.dtype.as_datatype_enum for value in values],
    )
    return [tensor._numpy() for tensor in tensors]


def weights_of(model):
    """Return the values of a model's weights, as ``model.get_weights`` does, faster."""
    return read([variable._value for variable in model.weights])


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


def _plain_dropouts(model):
    return [
        layer
        for layer in model._flatten_layers()
        if type(layer) is keras.layers.Dropout
        and layer.noise_shape is None
        and 0 < layer.rate < 1
    ]


@contextlib.contextmanager
def _fast_in_xla(dropouts):
    """Let dropout layers draw their numbers by the generator that XLA runs well.

    tensorflow's own choice is Philox, which XLA draws anew wherever a mask is used:
    3 to 7 times the time of a whole step, where ThreeFry takes a fraction of one. But
    of the two only Philox runs outside XLA.
    """
    for layer in dropouts:
        layer.call = functools.partial(_dropout, layer)
    try:
        yield
    finally:
        for layer in dropouts:
            del layer.call


def _dropout(layer, inputs, training=False):
    if not training:
        return inputs
    return tf.nn.experimental.stateless_dropout(
        inputs,
        rate=layer.rate,
        seed=tf.cast(layer.seed_generator.next(), tf.int32),
        rng_alg="threefry",
    )


@contextlib.contextmanager
def _same_names_everywhere(model, *how):
    """Let what is traced have the same names in every process.

    Names of functions and layers are part of a compiled program, and with them of its
    key in the disk cache. By themselves they are numbered through a process.
    """
    parts = [model, *model._flatten_layers(), model.optimizer, model.loss]
    parts = [part for part in parts if hasattr(part, "name")]
    names = [part.name for part in parts]
    numbers = itertools.count(first_number(model, *how))
    number, here = tf_ops.uid, threading.get_ident()
    # Other threads, which may be running programs, are given tensorflow's own numbers.
    tf_ops.uid = lambda: next(numbers) if threading.get_ident() == here else number()
    for i, part in enumerate(parts):
        part.name = f"part_{i}"
    try:
        yield
    finally:
        tf_ops.uid = number
        for part, name in zip(parts, names, strict=True):
            part.name = name


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
