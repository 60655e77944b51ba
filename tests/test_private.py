"""Private names of scikit-learn, tensorflow and Keras: each is what it is taken for.

A failure names the one that another version has changed: ``_runtime/private.py`` says
what it is for.
"""

import ctypes
import inspect
import io
import re
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral

import h5py
import keras
import numpy as np
import pytest
import sklearn
import tensorflow as tf
from packaging.version import Version
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, ProgressBar
from test_house import PRIVATE_NAMES
from threadpoolctl import ThreadpoolController

from skann._keras.randomness import fresh_names, seeded_globals, seeded_keras
from skann._runtime import private, start

CONTRACTS = {}
SKLEARN_VALIDATION = "sklearn.utils._param_validation"
XLA_READS = "_ZN3xla28ParseDebugOptionFlagsFromEnvEb"


def contract(names):
    """Note a check of private names: these are what a failure says."""
    return lambda check: CONTRACTS.setdefault(names, check)


@pytest.fixture(scope="module", autouse=True)
def devices():
    start.load()
    start.start()


# -- scikit-learn


class Estimator(CallbackSupportMixin, BaseEstimator):
    """Of one parameter, which fit checks."""

    _parameter_constraints = {
        "a": [
            private.Interval(Integral, 1, None, closed="left"),
            private.StrOptions({"auto"}),
            private.HasMethods(["fit"]),
        ]
    }

    def __init__(self, a=1):
        self.a = a

    @private.fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        return self


def refuses(check, *arguments):
    with pytest.raises(ValueError, match="The 'a' parameter of Estimator must be"):
        check(*arguments)


@contract("sklearn.base._fit_context")
def _():
    refuses(Estimator(0).fit, [[1.0]], [1.0])
    with sklearn.config_context(skip_parameter_validation=True):
        Estimator(0).fit([[1.0]], [1.0])


@contract("BaseEstimator._validate_params, _parameter_constraints")
def _():
    private.validate_parameters(Estimator(1))
    refuses(private.validate_parameters, Estimator(0))


@contract(f"{SKLEARN_VALIDATION}.Interval")
def _():
    class AnyButOne(private.Interval):
        def is_satisfied_by(self, val):
            return val != 1

    class Inherits(Estimator):
        _parameter_constraints = {"a": [AnyButOne(Integral, 1, None, closed="left")]}

    private.validate_parameters(Inherits(0))
    assert private.Interval(Integral, 1, None, closed="left").is_satisfied_by(1)
    with pytest.raises(ValueError, match="'a' parameter of Inherits must be an int"):
        private.validate_parameters(Inherits(1))


@contract(f"{SKLEARN_VALIDATION}.StrOptions")
def _():
    private.validate_parameters(Estimator("auto"))
    refuses(private.validate_parameters, Estimator("other"))


@contract(f"{SKLEARN_VALIDATION}.HasMethods")
def _():
    private.validate_parameters(Estimator(types.SimpleNamespace(fit=print)))
    refuses(private.validate_parameters, Estimator(types.SimpleNamespace()))
    assert not private.HasMethods([]).methods


@contract("sklearn.utils.validation._check_sample_weight")
def _():
    how = {"dtype": np.float64, "ensure_non_negative": True}
    weight = private.check_sample_weight([1, 2], np.ones((2, 1)), **how)
    assert weight.dtype == np.float64
    for wrong in ([1, -1], [1], [1, np.nan]):
        with pytest.raises(ValueError, match=r"weight"):
            private.check_sample_weight(wrong, np.ones((2, 1)), **how)


@contract("CallbackSupportMixin._init_callback_context, _skl_callbacks")
def _():
    estimator = Estimator()
    assert not private.has_callbacks(estimator)
    assert private.has_callbacks(Estimator().set_callbacks(ProgressBar()))
    context = private.callback_context(estimator, 3)
    assert context.max_subtasks == 3
    assert context.subcontext(task_name="epoch").task_name == "epoch"


# -- Python and threadpoolctl


@contract("threading.Lock._at_fork_reinit")
def _():
    for lock in (threading.Lock(), threading.RLock()):
        lock.acquire()
        private.freeing(lock)()
        assert lock.acquire(blocking=False)


@contract("threadpoolctl.OpenBLASController._real_set_num_threads")
def _():
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        before = library.num_threads
        with ThreadPoolExecutor(1) as elsewhere:
            # The public name would let this thread alone set it, while it lives.
            elsewhere.submit(private.set_blas_threads, library, before + 1).result()
            assert library.num_threads == before + 1
            private.set_blas_threads(library, before)
            assert library.num_threads == before


# -- tensorflow


@contract("tensorflow.python.eager.context: _initialized")
def _():
    assert private.has_devices()
    assert private._context().Context()._initialized is False


@contract("tensorflow.python.eager.context.eager_mode")
def _():
    with tf.Graph().as_default():
        assert not tf.executing_eagerly()
        with private.eager_mode():
            assert tf.executing_eagerly()


@contract("tensorflow.python.eager.context: _seed, _rng")
def _():
    def draw(disturb):
        tf.random.set_seed(1)
        first = float(tf.random.uniform(()))
        if disturb:
            with private.keeping_global_seed():
                tf.random.set_seed(2)
                tf.random.uniform(())
        return first, float(tf.random.uniform(()))

    with private.keeping_global_seed():
        assert draw(disturb=True) == draw(disturb=False)


@contract(
    "tensorflow.python.pywrap_tfe.TFE_Py_FastPathExecute: _ReadVariablesOp, _numpy"
)
def _():
    variables = [tf.Variable([1.0, 2.0]), tf.Variable(3, dtype=tf.int64)]
    values = private.read_variables(variables)
    variables[0].assign([0.0, 0.0])
    assert [value.tolist() for value in values] == [[1.0, 2.0], 3]
    assert [value.dtype for value in values] == [np.float32, np.int64]


@contract("ConcreteFunction._call_flat")
def _():
    variable = tf.Variable(2.0)
    function = tf.function(lambda x, y: {"z": variable * x + y})
    one = tf.TensorSpec((), tf.float32)
    traced = function.get_concrete_function(one, one)
    called = private.call_flat(traced, [tf.constant(3.0), tf.constant(1.0)])
    assert float(called["z"]) == 7.0


@contract("tensorflow.python.framework.ops.uid")
def _():
    def named():
        return tf.function(lambda: tf.constant(1)).get_concrete_function().name

    with private.numbered_by(iter(range(987_654_000, 987_655_000))):
        assert b"987654" in named()
    assert b"987654" not in named()


@contract("tensorflow.python.pywrap_tfe.TF_GetXlaConstantFoldingDisabled")
def _():
    private.have_tf_xla_flags_read()


@contract("tensorflow.python._pywrap_tensorflow_internal: " + XLA_READS)
def _():
    # What it does is tried where XLA's bound on small loops is.
    library = sys.modules["tensorflow.python._pywrap_tensorflow_internal"]
    assert hasattr(ctypes.CDLL(library.__file__), XLA_READS)
    assert f".{XLA_READS}" in inspect.getsource(private.have_xla_flags_read)


@contract("tensorflow.python.trackable.data_structures, keras.src.utils.tracking")
def _():
    layer, module = keras.layers.Layer(), tf.Module()
    layer.x, module.x = [1], [1]
    kinds = {type(layer.x).__module__, type(module.x).__module__}
    assert kinds == {*private.TRACKED}


@contract("tensorflow.python.ops.script_ops")
def _():
    assert tf.py_function.__module__ == tf.numpy_function.__module__
    assert tf.py_function.__module__ == private.CALLS_PYTHON


@contract("_self_")
def _():
    assert any(n.startswith(private.OF_TRACKING) for n in vars(keras.layers.Layer()))


@contract("_api_export_")
def _():
    assert any(n.startswith(private.OF_EXPORTS) for n in vars(keras.layers.Dense))


# -- Keras: the process


@contract("keras.src.backend.common.global_state: global_seed_generator")
def _():
    with seeded_keras(0):
        assert private.get_global(private.SEED_GENERATOR) is None
        keras.random.uniform((3,))
        made = private.get_global(private.SEED_GENERATOR)
    assert isinstance(made, keras.random.SeedGenerator)


@contract("keras.src.backend.common.global_state: global_random_seed")
def _():
    with seeded_globals(0):
        keras.utils.set_random_seed(5)
        assert private.get_global(private.RANDOM_SEED) == 5


@contract("keras.src.backend.common.global_state: object_name_uids")
def _():
    for _ in range(2):
        with fresh_names():
            assert keras.layers.Dense(1).name == "dense"
            assert keras.layers.Dense(1).name == "dense_1"
            assert private.get_global(private.NUMBERS_OF_NAMES)


@contract("keras.src.backend.common.global_state: scopes")
def _():
    from keras.src.utils.backend_utils import TFGraphScope

    known = set()

    class Looks(keras.layers.Layer):
        def call(self, x):
            with keras.RematScope(), TFGraphScope():
                known.update(n for n in private.SCOPES if private.get_global(n))
            return x

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")  # Kept only once it is set.
    try:
        Looks()(keras.Input((2,)))
    finally:
        keras.config.set_dtype_policy(before)
    assert known == {*private.SCOPES}


@contract("keras.src.random.seed_generator.python_random")
def _():
    class Source:
        def randint(self, low, high):
            return 77

    before = private.draw_seeds_from(Source())
    try:
        seed, _ = keras.random.SeedGenerator().state.numpy()
        assert seed == keras.initializers.GlorotUniform().seed == 77
    finally:
        private.draw_seeds_from(before)
    assert before.randint(3, 3) == 3


@contract("keras.src.saving.serialization_lib.inspect")
def _():
    asked = []
    tolerant = vars(inspect) | {"getsource": lambda f: asked.append(f) or ""}
    layer = keras.layers.Dense(1, activation=lambda x: x)
    with (
        private.looking_at_code_by(types.SimpleNamespace(**tolerant)),
        pytest.warns(UserWarning, match="includes a `lambda`"),
    ):
        keras.saving.serialize_keras_object(layer)
    assert asked == [layer.activation]


@contract("keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5")
def _():
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        private.write_h5(compiled(), h5)
        assert {"model_weights", "optimizer_weights"} <= {*h5}
        assert {"model_config", "training_config"} <= {*h5.attrs}


# -- Keras: layers and models


def compiled(loss="mse", **how):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(how.pop("optimizer", "adam"), loss, **how)
    return model


BATCH = np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32)


def built(**how):
    model = compiled(**how)
    private.create_variables(model, BATCH)
    return model


@contract("Variable._name, _path; Layer._path, _parent_path")
def _():
    layer = built().layers[0]
    assert {*private.NAMES} == {"_name", "_parent_path", "_path"}
    assert layer._path == layer.path
    assert layer._parent_path is not None
    assert layer.kernel._name == layer.kernel.name
    assert layer.kernel._path == layer.kernel.path


def functional():
    x = keras.Input((1,), name="x")
    return keras.Model({"x": x}, {"y": keras.layers.Dense(1)(x)})


TABLES = {
    "NOT_OF_LAYERS": lambda: [built(), functional()],
    "NOT_OF_OPTIMIZERS": lambda: [built().optimizer],
    "NOT_OF_LOSSES": lambda: [private.compiled_metrics(built(metrics=["mae"]))],
    "NOT_OF_SEEDS": lambda: [keras.random.SeedGenerator(1)],
    "NOT_OF_VARIABLES": lambda: [keras.Variable(1.0)],
}


# Before, there is nothing to leave out.
SINCE = {"_compiled_trainable_state": "3.15", "_layout": "3.15"}


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table in TABLES for name in sorted(getattr(private, table))],
)
def test_attribute_that_says_nothing_is_there(table, name):
    things = TABLES[table]()
    held = {n for thing in things for n in vars(thing)}
    classes = {cls for thing in things for cls in type(thing).__mro__[:-1]}
    is_there = name in held or any(f".{name}" in inspect.getsource(c) for c in classes)
    is_due = Version(keras.version()) >= Version(SINCE.get(name, "3"))
    assert is_there == is_due


@contract("Model._compile_loss, _compile_metrics, _loss_tracker")
def _():
    assert {*private.OF_COMPILATION} <= {*vars(compiled())}


@contract("LSTMCell._dropout_mask, _recurrent_dropout_mask")
def _():
    layer = keras.layers.LSTM(1, dropout=0.5, recurrent_dropout=0.5)
    layer(np.zeros((1, 2, 3)), training=True)
    assert {*private.OF_ONE_CALL} <= {*vars(layer.cell)}


@contract("Variable._value")
def _():
    variable = keras.Variable([1.0])
    own = vars(variable)[private.VALUE]
    assert isinstance(own, tf.Variable)
    assert own is variable.value


@contract("Variable._shape")
def _():
    assert private.shape_of(keras.Variable(np.zeros((2, 3)))) == (2, 3)


@contract("Layer._flatten_layers")
def _():
    inner = keras.Sequential([keras.layers.Dense(1)])
    outer = keras.Sequential([inner, keras.layers.Flatten()])
    assert private.layers_in(outer) == [outer, inner, *inner.layers, outer.layers[1]]
    assert private.layers_in(outer, itself=False)[0] is inner


@contract("Functional._inputs_struct")
def _():
    structure = private.input_structure(functional())
    assert isinstance(structure, dict)
    assert [*structure] == ["x"]
    assert private.input_structure(keras.Model()) is None


@contract("Layer._called")
def _():
    model = compiled()
    assert model._called is False
    model(BATCH[0])
    assert model._called is True
    private.note_as_called(model)


@contract("Model._initial_epoch")
def _():
    model = compiled()
    assert private.first_epoch(model) is None
    model._initial_epoch = 2
    assert private.first_epoch(model) == 2
    assert model.fit(*BATCH, epochs=3, verbose=0).epoch == [2]
    private.forget_first_epoch(model)
    assert model.fit(*BATCH, epochs=3, verbose=0).epoch == [0, 1, 2]


# -- Keras: what a model was compiled with


@contract("Model._compile_config")
def _():
    model = compiled(loss_weights=2.0)
    note = private.compilation(model)
    assert private.compiled_with(model)["loss_weights"] == 2.0
    assert private.compiled_with(model)["loss"] == "mse"
    assert private.compilation(model) is note
    model.compile("sgd", "mae")
    assert private.compilation(model) is not note
    assert private.compilation(keras.Sequential()) is None
    assert private.compiled_with(keras.Sequential()) == {}


@contract("Model._compile_loss: _flat_losses, _user_loss")
def _():
    loss = keras.losses.Huber()
    assert private.computed_losses(compiled(loss=loss)) == [loss]
    model = built(loss=loss)
    assert private.computed_losses(model) == [loss]
    model.loss = None
    assert private.computed_losses(model) == [loss]
    assert private.computed_losses(keras.Sequential()) == []


@contract("keras.src.trainers.compile_utils.CompileLoss.Loss")
def _():
    (part,) = built()._compile_loss._flat_losses
    assert type(part) is private.class_of_part_of_loss()
    assert part._fields == ("path", "loss", "loss_weights", "name")


@contract("Model._compile_loss.build")
def _():
    model = compiled()
    private.build_loss(model, keras.KerasTensor((2, 1)))
    assert model._compile_loss.built


@contract("Model._symbolic_build")
def _():
    model = compiled(metrics=["mae"])
    assert not model.optimizer.built
    private.create_variables(model, BATCH)
    assert model.optimizer.built
    assert [*model.get_metrics_result()] == ["loss", "mae"]
    assert not np.any(model.optimizer.iterations)


@contract("Model._loss_tracker")
def _():
    model = built()
    assert model.metrics[0] is private.mean_loss(model)
    assert {"total", "count"} <= {*vars(private.mean_loss(model))}


@contract("Model._compile_metrics: _flat_metrics, _flat_weighted_metrics")
def _():
    model = built(metrics=["mae"], weighted_metrics=["mse"])
    compiled_metrics = private.compiled_metrics(model)
    plain, weighted = private.both_kinds_of(compiled_metrics)
    assert [m.name for kind in (plain, weighted) for m in kind[0].metrics] == [
        m.name for m in compiled_metrics.metrics
    ]
    assert private.compiled_metrics(compiled()) is None


# -- Keras: losses, metrics, optimizers, callbacks


@contract("Loss._fn_kwargs")
def _():
    assert private.settings_of(keras.losses.Huber(0.25)) == {"delta": 0.25}
    assert private.settings_of(keras.losses.Loss()) == {}


@contract("Loss._dtype, _dtype_policy")
def _():
    loss = keras.losses.MeanSquaredError()
    private.set_dtype(loss, keras.dtype_policies.get("float64"))
    assert loss.dtype == "float64"
    assert loss(np.zeros(2), np.full(2, 1 / 3)).dtype == tf.float64


@contract("MeanMetricWrapper._fn")
def _():
    metric = keras.metrics.MeanSquaredError()
    assert private.function_of(metric) is keras.losses.mean_squared_error
    assert private.function_of(keras.metrics.Mean()) is None


@contract("Metric._direction")
def _():
    assert private.direction_of(keras.metrics.Accuracy()) == "up"
    assert private.direction_of(keras.metrics.MeanSquaredError()) == "down"
    assert private.direction_of(keras.metrics.Sum()) is None


@contract("Optimizer._learning_rate")
def _():
    assert isinstance(private.rate_of(keras.optimizers.SGD(0.1)), keras.Variable)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert private.rate_of(keras.optimizers.SGD(schedule)) is schedule


@contract("Adam._momentums, _velocities")
def _():
    model = built()
    moments = private.moments_of(model.optimizer)
    shapes = [[v.shape for v in kind] for kind in moments]
    assert shapes == [[v.shape for v in model.trainable_variables]] * 2
    known = set(map(id, model.optimizer.variables))
    assert all(id(v) in known for kind in moments for v in kind)


@contract("Optimizer._trainable_variables")
def _():
    model = built()
    assert private.built_on(model.optimizer) == model.trainable_variables
    assert not private.built_on(keras.optimizers.SGD())


@contract("Optimizer._use_weight_decay")
def _():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert private.decaying(built(optimizer=optimizer).optimizer) == [True, False]


@contract("Callback._model")
def _():
    callback, model = keras.callbacks.Callback(), compiled()
    assert private.model_of(callback) is None
    callback.set_model(model)
    assert private.model_of(callback) is model


@contract("TensorBoard._should_trace")
def _():
    assert not private.profiles(keras.callbacks.TensorBoard("unused"))
    # Tensorflow's profiler starts for a moment, to see whether it is there.
    source = inspect.getsource(keras.callbacks.TensorBoard)
    assert "self._should_trace = not" in source


# -- All of them


@pytest.mark.parametrize("names", CONTRACTS)
def test_private_name_is_what_it_is_taken_for(names):
    CONTRACTS[names]()


def test_each_has_a_contract():
    tables = set().union(*(getattr(private, table) for table in TABLES))
    used = PRIVATE_NAMES - tables
    tried = " ".join(CONTRACTS)
    assert used
    for name in used:
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", tried), name
