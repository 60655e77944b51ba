"""Private names of scikit-learn, tensorflow and Keras: all that skann uses, each once.

Each says what for, and which public way is missing. ``tests/test_private.py`` tries
every one, and finds what is used anywhere else. Nothing here imports tensorflow or
Keras: whoever asks for something of theirs has imported them.
"""

import ctypes
import sys
import threading
from contextlib import contextmanager

from sklearn import base
from sklearn.utils import _param_validation, validation

# -- scikit-learn ---------------------------------------------------------------------

# Checks parameters where `config_context` does not say not to. Third-party estimators
# are meant to use it, though it has an underscore.
fit_context = base._fit_context

# scikit-learn offers parameter validation to itself only; third-party estimators use it
# all the same, for errors that read like scikit-learn's. It takes no other constraints
# than its own, and those that are one of them.
HasMethods = _param_validation.HasMethods
Interval = _param_validation.Interval
StrOptions = _param_validation.StrOptions

# Checks weights, in scikit-learn's words; `validate_data` takes none.
check_sample_weight = validation._check_sample_weight


def validate_parameters(estimator):
    """Check parameters outside of ``fit``, where no decorator does."""
    estimator._validate_params()


def callback_context(estimator, n_subtasks):
    """Return the task of a fit; documented for third parties, with its underscore."""
    return estimator._init_callback_context(max_subtasks=n_subtasks)


def has_callbacks(estimator):
    """Whether ``set_callbacks`` was given any: nothing public tells."""
    return hasattr(estimator, "_skl_callbacks")


# -- Python and threadpoolctl ---------------------------------------------------------


def freeing(lock):
    """Return what frees a lock in a forked child, without the thread that holds it."""
    return lock._at_fork_reinit


def set_blas_threads(library, n_threads):
    """Set the number of threads of a BLAS, from any thread.

    The public name lets one thread of a process set it, and nobody else, its users
    included, until that thread ends or gives it up. Not all libraries have this one.
    """
    setter = getattr(library, "_real_set_num_threads", library.set_num_threads)
    setter(n_threads)


# -- tensorflow -----------------------------------------------------------------------

# Its modules whose containers stand in the place of a user's list or dict, and Keras'.
TRACKED = ("keras.src.utils.tracking", "tensorflow.python.trackable.data_structures")

# Its module of what calls Python code while a program runs.
CALLS_PYTHON = "tensorflow.python.ops.script_ops"

# How attributes begin that it adds to all that it tracks, and to what it exports.
OF_TRACKING = "_self_"
OF_EXPORTS = "_api_export_"


def _context():
    return sys.modules["tensorflow.python.eager.context"]


def has_devices():
    """Whether tensorflow has made its devices; `tf.config` would make them."""
    is_imported = "tensorflow.python.eager.context" in sys.modules
    return is_imported and _context().context()._initialized


def make_devices():
    """Have tensorflow make its devices; nothing public does that and no more."""
    _context().context().ensure_initialized()


def eager_mode():
    """Leave a graph that is no function's for a block; `tf.init_scope` does not."""
    return _context().eager_mode()


@contextmanager
def keeping_global_seed():
    """Put tensorflow's global seed and its counter back: `tf.random` only sets them."""
    state = vars(_context().context())
    before = {name: state.get(name) for name in ("_seed", "_rng")}
    try:
        yield
    finally:
        state.update(before)


def read_variables(variables):
    """Return the values of tensorflow's variables as arrays that are not to be changed.

    In one operation for all, without the checks of its Python wrapper and without the
    copies of ``variable.numpy()``: the arrays are tensorflow's memory, which it does
    not write to while they are held.
    """
    tensors = sys.modules["tensorflow.python.pywrap_tfe"].TFE_Py_FastPathExecute(
        _context().context(),
        "_ReadVariablesOp",
        None,
        [variable.handle for variable in variables],
        "dtypes",
        [variable.dtype.as_datatype_enum for variable in variables],
    )
    return [tensor._numpy() for tensor in tensors]


def call_flat(function, tensors):
    """Call a traced function with flat arguments: to sort nested ones takes long."""
    return function._call_flat(tensors, function.captured_inputs)


@contextmanager
def numbered_by(numbers):
    """Take the numbers in names of functions that this thread traces from an iterator.

    tensorflow counts them through a process, and lets nobody set them. Other threads,
    which may be running programs, are given tensorflow's own.
    """
    ops, here = sys.modules["tensorflow.python.framework.ops"], threading.get_ident()
    own = ops.uid
    ops.uid = lambda: next(numbers) if threading.get_ident() == here else own()
    try:
        yield
    finally:
        ops.uid = own


def have_tf_xla_flags_read():
    """Have tensorflow read ``TF_XLA_FLAGS``, which it does once, when it must."""
    sys.modules["tensorflow.python.pywrap_tfe"].TF_GetXlaConstantFoldingDisabled()


def have_xla_flags_read():
    """Have XLA read ``XLA_FLAGS`` now rather than when it first compiles.

    No Python leads there but compiling something, which starts tensorflow's threads.
    Where the function is not found, XLA reads them later.
    """
    library = sys.modules["tensorflow.python._pywrap_tensorflow_internal"]
    try:
        read = ctypes.CDLL(library.__file__)._ZN3xla28ParseDebugOptionFlagsFromEnvEb
    except (OSError, AttributeError):
        return
    read.argtypes, read.restype = [ctypes.c_bool], None
    read(False)  # Not to set the options back first.


# -- Keras: the process ---------------------------------------------------------------

# What it keeps for each thread by name: the generator of seeds, its seed, how often
# each name was given. `keras.utils` sets the seed, for all, and reads none.
SEED_GENERATOR = "global_seed_generator"
RANDOM_SEED = "global_random_seed"
NUMBERS_OF_NAMES = "object_name_uids"

# And what changes what a new layer or variable is. No public name leads out of these.
SCOPES = (
    *("stateless_scope", "symbolic_scope", "autocast_scope", "current_call_ctx"),
    *("name_scope_stack", "remat_scope_stack", "in_tf_graph_scope", "dtype_policy"),
)


def get_global(name):
    """Return what Keras keeps by this name."""
    return _global_state().get_global_attribute(name)


def set_global(name, value):
    """Have Keras keep another value by this name."""
    _global_state().set_global_attribute(name, value)


def _global_state():
    return sys.modules["keras.src.backend.common.global_state"]


def draw_seeds_from(source):
    """Have layers without a seed draw theirs from an object like Python's ``random``.

    Keras draws from nothing else. Returns what was drawn from before.
    """
    module = sys.modules["keras.src.random.seed_generator"]
    before, module.python_random = module.python_random, source
    return before


@contextmanager
def looking_at_code_by(inspect):
    """Have Keras serialise by an object like ``inspect``, say without a source."""
    module = sys.modules["keras.src.saving.serialization_lib"]
    before, module.inspect = module.inspect, inspect
    try:
        yield
    finally:
        module.inspect = before


def write_h5(model, file):
    """Write a model to an open HDF5 file: `save` advises against it, in Keras' log."""
    module = sys.modules["keras.src.legacy.saving.legacy_h5_format"]
    module.save_model_to_hdf5(model, file)


# -- Keras: layers and models ---------------------------------------------------------

# What names of layers and variables are kept as, beside public ones.
NAMES = {"_name", "_parent_path", "_path"}

# Attributes of layers and models that say nothing of how they compute: how they are
# wired stands in the nodes of a functional model, what is built in the variables, and
# what a model was compiled with in the objects made of it.
NOT_OF_LAYERS = {
    *("_auto_config", "_build_shapes_dict", "_call_signature", "_called"),
    *("_compile_config", "_compiled_trainable_state", "_eval_epoch_iterator"),
    *("_inbound_nodes", "_initial_epoch", "_input_spec", "_jit_compile", "_lock"),
    *("_loss_ids", "_losses", "_losses_override", "_nodes", "_operations"),
    *("_operations_by_depth", "_outbound_nodes", "_saved_model_arg_spec"),
    *("_saved_model_inputs_spec", "_tracked", "_tracker"),
}
# The same of optimizers: made of the memory addresses of variables. Their order is in
# the list of variables, and which of them do not decay is asked of the optimizer.
NOT_OF_OPTIMIZERS = {
    *("_distribution_strategy", "_exclude_from_weight_decay"),
    *("_exclude_from_weight_decay_cache", "_exclude_from_weight_decay_pattern"),
    *("_lock", "_tracker", "_trainable_variables_indices"),
}
# And of losses and metrics, generators of seeds (their state is a variable), variables.
NOT_OF_LOSSES = {"_tracker"}
NOT_OF_SEEDS = {"_initial_seed"}
NOT_OF_VARIABLES = {"_initializer", "_layout", "_ndim", "_shape", "_value"}

# What a model holds of what it was compiled with, beside public names.
OF_COMPILATION = ("_compile_loss", "_compile_metrics", "_loss_tracker")

# What recurrent cells keep of one call, and drop in the next.
OF_ONE_CALL = ("_dropout_mask", "_recurrent_dropout_mask")

# Where a variable keeps tensorflow's; ``value`` may cast, and lends no other.
VALUE = "_value"


def shape_of(variable):
    """Return a shape, for which ``shape`` makes a new object for every look at it."""
    return variable._shape


def layers_in(layer, itself=True):
    """Return a layer with all layers in it; ``layers`` has a model's own ones only."""
    return list(layer._flatten_layers(include_self=itself))


def input_structure(model):
    """Return how a functional model's inputs are nested; ``inputs`` is a flat list."""
    return getattr(model, "_inputs_struct", None)


def note_as_called(model):
    """Let a built model be exported, which Keras refuses until one was called."""
    model._called = True


def first_epoch(model):
    """Return the epoch to begin with that BackupAndRestore has set, for Keras' loop."""
    return getattr(model, "_initial_epoch", None)


def forget_first_epoch(model):
    """Have Keras' loop begin with the epoch that it is told."""
    model._initial_epoch = None


# -- Keras: what a model was compiled with --------------------------------------------
# `get_compile_config` gives copies; none of the objects has a public name.


def compilation(model):
    """Return Keras' note of what ``compile`` was given, another one each time."""
    return getattr(model, "_compile_config", None)


def compiled_with(model):
    """Return the arguments (dict) that ``compile`` was given."""
    note = compilation(model)
    return note.config if note else {}


def computed_losses(model):
    """Return the losses that are computed, whatever ``model.loss`` has become since."""
    keeper = model._compile_loss
    if keeper is None:
        return []
    if keeper._flat_losses is None:  # It is not built.
        return [keeper._user_loss]
    return [part.loss for part in keeper._flat_losses]


def class_of_part_of_loss():
    """Return the class of what Keras makes of each loss, a named tuple."""
    return sys.modules["keras.src.trainers.compile_utils"].CompileLoss.Loss


def build_loss(model, y):
    """Make the losses for targets like y, without tracing the model for it."""
    model._compile_loss.build(y, model.outputs[0])


def create_variables(model, batch):
    """Create the variables of optimizer and metrics, which ``fit`` does on its way."""
    model._symbolic_build(data_batch=batch)


def mean_loss(model):
    """Return the metric of a model's loss; ``metrics`` has it by its place only."""
    return model._loss_tracker


def compiled_metrics(model):
    """Return the metric that keeps those which a model was compiled with, or None."""
    return model._compile_metrics


def both_kinds_of(compiled_metrics):
    """Return those without and those with weights, None where an output has none."""
    return compiled_metrics._flat_metrics, compiled_metrics._flat_weighted_metrics


# -- Keras: losses, metrics, optimizers, callbacks ------------------------------------


def settings_of(loss):
    """Return a loss's settings, such as delta: ``get_config`` leaves out some."""
    return getattr(loss, "_fn_kwargs", {})


def set_dtype(loss, policy):
    """Have a loss compute in a type, which only its constructor takes."""
    vars(loss).update(_dtype_policy=policy, _dtype=policy.compute_dtype)


def function_of(metric):
    """Return the function of which a metric is the mean, or None."""
    return getattr(metric, "_fn", None)


def direction_of(metric):
    """Return "up" or "down": which way is better by Keras' callbacks, if they know."""
    return getattr(metric, "_direction", None)


def rate_of(optimizer):
    """Return the variable or schedule of which ``learning_rate`` is the number."""
    return optimizer._learning_rate


def moments_of(adam):
    """Return Adam's variables; ``variables`` has them among others."""
    return adam._momentums, adam._velocities


def built_on(optimizer):
    """Return the variables that an optimizer was built on; it has its own only."""
    return getattr(optimizer, "_trainable_variables", ())


def decaying(optimizer):
    """Return whether each of these decays: there are only ways to exclude some."""
    return [bool(optimizer._use_weight_decay(v)) for v in built_on(optimizer)]


def model_of(callback):
    """Return a callback's model, or None; a class may have a ``model`` of its own."""
    return vars(callback).get("_model")


def profiles(tensorboard):
    """Whether the callback profiles batches, of which it keeps no public note."""
    return tensorboard._should_trace
