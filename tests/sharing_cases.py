"""Pairs of networks that differ in one hidden thing each.

Every function yields two functions that make a compiled model, one after the other: the
second is asked for when the first has been trained. What differs cannot be seen in the
configuration of layers, loss, metrics or optimizer.
"""

import collections
import enum
import functools
import sys
import types
from dataclasses import dataclass, field
from unittest.mock import patch

import keras
import numpy as np
from keras import ops

N_FEATURES = 3
PAIRS = {}


def pair(function):
    PAIRS[function.__name__.replace("_", " ").strip()] = function
    return function


def mlp(
    activation="tanh", loss="mse", optimizer=None, more=(), change=None, **compiled
):
    """Return a function that makes a small network, changed once it is compiled."""

    def make():
        layers = [part() for part in more]
        hidden = keras.layers.Dense(4, activation=activation)
        parts = [keras.Input((N_FEATURES,)), hidden, *layers, keras.layers.Dense(1)]
        model = keras.Sequential(parts)
        rule = keras.optimizers.SGD(0.05) if optimizer is None else optimizer()
        model.compile(rule, loss, **compiled)
        if change is not None:
            change(model)
        return model

    return make


def scaled(z, by):
    return ops.tanh(z) * by


# Functions.


def closing_over(a):
    def activation(z):
        return ops.where(z > 0, z, a * z)

    return activation


@pair
def a_closure():
    yield mlp(closing_over(0.1))
    yield mlp(closing_over(-3.0))


@pair
def a_closure_in_a_closure():
    def outer(inner):
        return lambda z: inner(z) + 0.1

    yield mlp(outer(closing_over(0.1)))
    yield mlp(outer(closing_over(-3.0)))


@pair
def a_closure_changed_in_place():
    held = [0.1]
    yield mlp(closing_over_list(held))
    held[0] = -3.0
    yield mlp(closing_over_list(held))


def closing_over_list(held):
    return lambda z: z * held[0]


def with_default(by):
    def activation(z, by=by):
        return scaled(z, by)

    return activation


@pair
def a_default():
    yield mlp(with_default(0.5))
    yield mlp(with_default(2.0))


@pair
def a_default_set_anew():
    activation = with_default(0.5)
    yield mlp(activation)
    activation.__defaults__ = (2.0,)
    yield mlp(activation)


def with_keyword_default(by):
    def activation(z, *, by=by):
        return scaled(z, by)

    return activation


@pair
def a_keyword_default():
    yield mlp(with_keyword_default(0.5))
    yield mlp(with_keyword_default(2.0))


@pair
def an_argument_of_a_partial():
    def swapped(by, z):
        return scaled(z, by)

    yield mlp(functools.partial(swapped, 0.5))
    yield mlp(functools.partial(swapped, 2.0))


@pair
def a_keyword_of_a_partial_of_a_partial():
    inner = functools.partial(scaled)
    yield mlp(functools.partial(inner, by=0.5))
    yield mlp(functools.partial(inner, by=2.0))


@pair
def a_partial_of_keras():
    leaky = keras.activations.leaky_relu
    yield mlp(functools.partial(leaky, negative_slope=0.1))
    yield mlp(functools.partial(leaky, negative_slope=0.9))


ALPHA = 0.5
TABLE = {"alpha": 0.5}
ARRAY = np.array([0.5, 1.0])


def reads_global(z):
    return scaled(z, ALPHA)


def calls_what_reads_global(z):
    return reads_global(z) + 0.1


def set_global(value):
    globals()["ALPHA"] = value


@pair
def a_global():
    yield mlp(reads_global)
    with patch.dict(globals(), ALPHA=2.0):
        yield mlp(reads_global)


@pair
def a_global_of_a_global():
    yield mlp(calls_what_reads_global)
    with patch.dict(globals(), ALPHA=2.0):
        yield mlp(calls_what_reads_global)


@pair
def a_function_redefined_under_its_name():
    yield mlp(calls_what_reads_global)
    with patch.dict(globals(), reads_global=lambda z: ops.sin(z)):
        yield mlp(calls_what_reads_global)


@pair
def a_dictionary_changed_in_place():
    def activation(z):
        return scaled(z, TABLE["alpha"])

    yield mlp(activation)
    with patch.dict(TABLE, alpha=2.0):
        yield mlp(activation)


@pair
def an_array_changed_in_place():
    def activation(z):
        return scaled(z, ARRAY[1])

    yield mlp(activation)
    try:
        ARRAY[1] = 3.0
        yield mlp(activation)
    finally:
        ARRAY[1] = 1.0


@pair
def a_global_in_a_comprehension():
    def activation(z):
        return sum([scaled(z, ALPHA * k) for k in range(3)])

    yield mlp(activation)
    with patch.dict(globals(), ALPHA=2.0):
        yield mlp(activation)


settings = types.ModuleType("settings_of_a_user")
settings.ALPHA = 0.5
settings.deeper = types.ModuleType("settings_of_a_user.deeper")
settings.deeper.ALPHA = 0.5
sys.modules.update({m.__name__: m for m in (settings, settings.deeper)})


@pair
def an_attribute_of_a_module():
    def activation(z):
        return scaled(z, settings.ALPHA)

    yield mlp(activation)
    with patch.object(settings, "ALPHA", 2.0):
        yield mlp(activation)


@pair
def an_attribute_of_a_module_in_a_package():
    def activation(z):
        return scaled(z, settings.deeper.ALPHA)

    yield mlp(activation)
    with patch.object(settings.deeper, "ALPHA", 2.0):
        yield mlp(activation)


@pair
def a_module_handed_on():
    def read(module):
        return module.ALPHA

    def activation(z):
        return scaled(z, read(settings))

    yield mlp(activation)
    with patch.object(settings, "ALPHA", 2.0):
        yield mlp(activation)


@pair
def a_module_imported_inside():
    def activation(z):
        import settings_of_a_user as here

        return scaled(z, here.ALPHA)

    yield mlp(activation)
    with patch.object(settings, "ALPHA", 2.0):
        yield mlp(activation)


@pair
def an_attribute_of_a_function():
    def activation(z):
        return scaled(z, held.alpha)

    def held():
        pass

    held.alpha = 0.5
    yield mlp(activation)
    held.alpha = 2.0
    yield mlp(activation)


def run(source):
    names = {"ops": ops, "__name__": "notebook"}
    exec(compile(source, "<cell>", "exec"), names)
    return names["activation"]


@pair
def a_constant_in_a_notebook():
    yield mlp(run("def activation(z):\n    return ops.tanh(z) * 0.5"))
    yield mlp(run("def activation(z):\n    return ops.tanh(z) * 2.0"))


@pair
def the_name_of_a_function_that_is_called():
    yield mlp(run("def activation(z):\n    return ops.tanh(z)"))
    yield mlp(run("def activation(z):\n    return ops.relu(z)"))


@pair
def a_constant_in_a_function_in_a_function():
    source = "def activation(z):\n    return (lambda x: ops.tanh(x) * {})(z)"
    yield mlp(run(source.format(0.5)))
    yield mlp(run(source.format(2.0)))


@pair
def a_wrapper_that_claims_to_be_keras_own():
    def wrapping(by):
        @functools.wraps(keras.activations.tanh)
        def activation(z):
            return scaled(z, by)

        return activation

    yield mlp(wrapping(0.5))
    yield mlp(wrapping(2.0))


@pair
def a_function_that_keeps_its_results():
    def kept(by):
        return functools.lru_cache(lambda: by)

    def calling(helper):
        return lambda z: scaled(z, helper())

    yield mlp(calling(kept(0.5)))
    yield mlp(calling(kept(2.0)))


@functools.singledispatch
def dispatched(z):
    return scaled(z, ALPHA)


@pair
def a_function_in_a_wrapper_of_pythons():
    yield mlp(dispatched)
    with patch.dict(globals(), ALPHA=2.0):
        yield mlp(dispatched)


# Objects.


class Scale:
    factor = 1.0

    def __init__(self, by):
        self.by = by

    def __call__(self, z):
        return scaled(z, self.by * self.factor)

    def method(self, z):
        return self(z)

    @classmethod
    def of_class(cls, z):
        return scaled(z, cls.factor)

    @property
    def doubled(self):
        return 2 * self.factor


class Inherits(Scale):
    pass


@pair
def an_object_that_is_called():
    yield mlp(Scale(0.5))
    yield mlp(Scale(2.0))


@pair
def an_object_changed_in_place():
    scale = Scale(0.5)
    yield mlp(scale)
    scale.by = 2.0
    yield mlp(scale)


@pair
def a_bound_method():
    yield mlp(Scale(0.5).method)
    yield mlp(Scale(2.0).method)


@pair
def a_class_attribute():
    yield mlp(Scale(0.5))
    with patch.object(Scale, "factor", 4.0):
        yield mlp(Scale(0.5))


@pair
def a_class_attribute_of_a_base():
    yield mlp(Inherits.of_class)
    with patch.object(Scale, "factor", 4.0):
        yield mlp(Inherits.of_class)


@pair
def a_method_replaced_in_a_class():
    yield mlp(Inherits(0.5))
    with patch.object(Scale, "__call__", lambda self, z: ops.sin(z)):
        yield mlp(Inherits(0.5))


@pair
def a_property():
    scale = Scale(0.5)

    def activation(z):
        return scaled(z, scale.doubled)

    yield mlp(activation)
    with patch.object(Scale, "doubled", property(lambda self: 7.0)):
        yield mlp(activation)


@pair
def an_attribute_read_by_a_computed_name():
    def activation(z, scale):
        return scaled(z, getattr(scale, "b" + "y"))

    yield mlp(functools.partial(activation, scale=Scale(0.5)))
    yield mlp(functools.partial(activation, scale=Scale(2.0)))


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by


@dataclass
class Data:
    by: float
    more: list = field(default_factory=list)


class Choice(enum.Enum):
    SMALL = 0.5
    LARGE = 2.0


Named = collections.namedtuple("Named", ["by"])


class Words(dict):
    by = 0.0


def holding(held):
    return lambda z: scaled(z, held.by)


@pair
def a_slot():
    yield mlp(holding(Slotted(0.5)))
    yield mlp(holding(Slotted(2.0)))


@pair
def a_field_of_a_dataclass():
    yield mlp(holding(Data(0.5)))
    yield mlp(holding(Data(2.0)))


@pair
def a_member_of_an_enum():
    def reading(choice):
        return lambda z: scaled(z, choice.value)

    yield mlp(reading(Choice.SMALL))
    yield mlp(reading(Choice.LARGE))


@pair
def an_entry_of_a_named_tuple():
    yield mlp(holding(Named(0.5)))
    yield mlp(holding(Named(2.0)))


@pair
def an_attribute_of_a_dictionary_of_ones_own():
    def words(by):
        held = Words(a=1)
        held.by = by
        return held

    yield mlp(holding(words(0.5)))
    yield mlp(holding(words(2.0)))


def summed(held):
    def activation(z):
        total = 0.0
        for k, value in enumerate(held):
            total = total + value * (k + 1)
        return scaled(z, total)

    return activation


@pair
def the_order_of_a_dictionary():
    def ordered(*keys):
        table = dict.fromkeys(keys)
        return summed(table)

    yield mlp(ordered(1.0, 0.1))
    yield mlp(ordered(0.1, 1.0))


@pair
def a_queue():
    yield mlp(summed(collections.deque([1.0, 2.0])))
    yield mlp(summed(collections.deque([1.0, 3.0])))


@pair
def a_set():
    yield mlp(summed({1.0}))
    yield mlp(summed({2.0}))


@pair
def a_list_of_arrays():
    yield mlp(summed([np.float64(1.0), np.array([0.1])]))
    yield mlp(summed([np.float64(1.0), np.array([0.7])]))


@pair
def an_array_of_objects():
    yield mlp(summed(np.array([1.0, Named(0.1)[0], None][:2], dtype=object)))
    yield mlp(summed(np.array([1.0, Named(0.7)[0], None][:2], dtype=object)))


@pair
def a_tensor():
    yield mlp(summed([ops.convert_to_tensor(0.5, "float64")]))
    yield mlp(summed([ops.convert_to_tensor(2.0, "float64")]))


# Layers.


class Own(keras.layers.Layer):
    factor = 1.0

    def __init__(self, by, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, x):
        by = self.by.by if isinstance(self.by, Data) else self.by
        return scaled(x, by * self.factor)

    def get_config(self):
        return super().get_config()


@pair
def an_attribute_of_a_layer():
    yield mlp(more=[lambda: Own(0.5)])
    yield mlp(more=[lambda: Own(2.0)])


@pair
def an_object_in_a_layer():
    yield mlp(more=[lambda: Own(Data(0.5))])
    yield mlp(more=[lambda: Own(Data(2.0))])


@pair
def a_class_attribute_of_a_layer():
    yield mlp(more=[lambda: Own(0.5)])
    with patch.object(Own, "factor", 4.0):
        yield mlp(more=[lambda: Own(0.5)])


@pair
def a_layer_that_reads_its_name():
    class Reads(keras.layers.Layer):
        def call(self, x):
            return scaled(x, 2.0 if self.name == "double" else 0.5)

    yield mlp(more=[lambda: Reads(name="single")])
    yield mlp(more=[lambda: Reads(name="double")])


def changed(path, value):
    """Return what sets an attribute of a model, or of a part of it."""
    *steps, name = path.split(".")

    def change(model):
        thing = model
        for step in steps:
            thing = thing.layers[int(step)] if step.isdigit() else getattr(thing, step)
        setattr(thing, name, value)

    return change


def in_place(path, value, **network):
    def cases():
        yield mlp(**network)
        yield mlp(**network, change=changed(path, value))

    PAIRS[f"{path} set in place"] = cases


def leaky():
    return keras.layers.LeakyReLU(0.1)


def batch_norm():
    return keras.layers.BatchNormalization()


def penalised():
    return keras.layers.ActivityRegularization(l2=0.1)


def dense(**kwargs):
    return lambda: keras.layers.Dense(3, **kwargs)


def adam():
    return keras.optimizers.Adam(0.05)


def decaying():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    return keras.optimizers.SGD(schedule)


in_place("0.activation", ops.sin)
in_place("0.activation", keras.activations.relu)
in_place("1.call", lambda x, training=None: ops.sin(x), more=[leaky])
in_place("0.kernel.regularizer", keras.regularizers.L2(0.5))
in_place("0.kernel.constraint", keras.constraints.MaxNorm(0.1))
in_place("0.trainable", False)
in_place("1.negative_slope", 0.7, more=[leaky])
in_place("1.epsilon", 0.5, more=[batch_norm])
in_place("1.momentum", 0.1, more=[batch_norm])
in_place("1.activity_regularizer.l2", 5.0, more=[penalised])
in_place("1.rate", 0.9, more=[lambda: keras.layers.Dropout(0.1, seed=1)])
in_place(
    "1.kernel_regularizer.l2",
    0.9,
    more=[dense(kernel_regularizer=keras.regularizers.L2(0.1))],
)
in_place("optimizer.beta_1", 0.1, optimizer=adam)
in_place("optimizer.epsilon", 0.5, optimizer=adam)
in_place("optimizer.nesterov", True, optimizer=lambda: keras.optimizers.SGD(0.05, 0.9))
in_place("optimizer.clipnorm", 0.01)
in_place("optimizer._learning_rate.decay_rate", 0.9, optimizer=decaying)
in_place("loss.reduction", "sum", loss=keras.losses.MeanSquaredError())
in_place(
    "loss.fn", keras.losses.mean_absolute_error, loss=keras.losses.MeanSquaredError()
)
in_place("loss.call", lambda y, p: ops.abs(y - p), loss=keras.losses.MeanSquaredError())
in_place("loss._fn_kwargs", {"delta": 0.01}, loss=keras.losses.Huber())
in_place("train_step", lambda data: {"loss": ops.sum(data[0])})
in_place(
    "compute_loss", lambda x, y, y_pred, *rest, **more: ops.mean(ops.abs(y - y_pred))
)


# Losses, metrics, optimizers, regularizers, constraints.


@pair
def a_global_in_a_loss():
    def loss(y, p):
        return ops.mean(ops.abs(y - p) ** (2 * ALPHA), axis=-1)

    yield mlp(loss=loss)
    with patch.dict(globals(), ALPHA=1.5):
        yield mlp(loss=loss)


class OwnLoss(keras.losses.Loss):
    power = 2.0

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y, p):
        return self.weight * ops.mean(ops.abs(y - p) ** self.power, axis=-1)


@pair
def an_attribute_of_a_loss():
    yield mlp(loss=OwnLoss(1.0))
    yield mlp(loss=OwnLoss(0.1))


@pair
def a_class_attribute_of_a_loss():
    yield mlp(loss=OwnLoss(1.0))
    with patch.object(OwnLoss, "power", 1.0):
        yield mlp(loss=OwnLoss(1.0))


@pair
def the_weight_of_the_loss():
    yield mlp(loss_weights=1.0)
    yield mlp(loss_weights=0.1)


@pair
def a_closure_in_a_metric():
    def metric(by):
        def error(y, p):
            return by * ops.mean(ops.abs(y - p), axis=-1)

        return error

    yield mlp(metrics=[metric(1.0)])
    yield mlp(metrics=[metric(0.1)])


class Error(keras.metrics.Mean):
    def __init__(self, by):
        super().__init__(name="error")
        self.by = by

    def update_state(self, y, p, sample_weight=None):
        super().update_state(self.by * ops.abs(y - p), sample_weight)


@pair
def an_attribute_of_a_metric():
    yield lambda: mlp(metrics=[Error(1.0)])()
    yield lambda: mlp(metrics=[Error(0.1)])()


@pair
def arguments_of_a_metric_set_in_place():
    def make(delta):
        metric = keras.metrics.MeanMetricWrapper(keras.losses.huber, name="huber")
        metric._fn_kwargs["delta"] = delta
        return mlp(metrics=[metric])()

    yield lambda: make(1.0)
    yield lambda: make(0.01)


class OwnSGD(keras.optimizers.SGD):
    factor = 1.0

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * self.factor, variable, learning_rate)


@pair
def a_class_attribute_of_an_optimizer():
    yield mlp(optimizer=lambda: OwnSGD(0.05))
    with patch.object(OwnSGD, "factor", 0.1):
        yield mlp(optimizer=lambda: OwnSGD(0.05))


@pair
def an_attribute_of_an_optimizer():
    def optimizer(factor):
        made = OwnSGD(0.05)
        made.factor = factor
        return made

    yield mlp(optimizer=lambda: optimizer(1.0))
    yield mlp(optimizer=lambda: optimizer(0.1))


@pair
def what_does_not_decay():
    def optimizer(names):
        made = keras.optimizers.AdamW(0.05, weight_decay=0.5)
        if names:
            made.exclude_from_weight_decay(var_names=names)
        return made

    yield mlp(optimizer=lambda: optimizer(["bias"]))
    yield mlp(optimizer=lambda: optimizer(["kernel"]))


@pair
def layers_that_muon_leaves_out():
    def optimizer(names):
        return keras.optimizers.Muon(0.05, exclude_layers=names)

    yield mlp(optimizer=lambda: optimizer([]))
    yield mlp(optimizer=lambda: optimizer(["dense"]))


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        return ops.take(ops.array(self.rates, "float64"), ops.minimum(step, 1))

    def get_config(self):
        return {}


@pair
def a_list_in_a_schedule():
    def optimizer(rates):
        return keras.optimizers.SGD(OwnSchedule(rates))

    yield mlp(optimizer=lambda: optimizer([0.05, 0.05]))
    yield mlp(optimizer=lambda: optimizer([0.05, 0.01]))


class OwnPenalty(keras.regularizers.Regularizer):
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return self.weight * ops.sum(ops.abs(x))

    def get_config(self):
        return {}


@pair
def an_attribute_of_a_regularizer():
    yield mlp(more=[dense(kernel_regularizer=OwnPenalty(0.01))])
    yield mlp(more=[dense(kernel_regularizer=OwnPenalty(1.0))])


class OwnConstraint(keras.constraints.Constraint):
    def __init__(self, most):
        self.most = most

    def __call__(self, w):
        return ops.clip(w, -self.most, self.most)

    def get_config(self):
        return {}


@pair
def an_attribute_of_a_constraint():
    yield mlp(more=[dense(bias_constraint=OwnConstraint(0.001))])
    yield mlp(more=[dense(bias_constraint=OwnConstraint(0.01))])


@pair
def an_initializer_that_is_called_in_every_step():
    class Noisy(keras.layers.Layer):
        def __init__(self, seed):
            super().__init__()
            self.noise = keras.initializers.RandomNormal(seed=seed)

        def call(self, x):
            return x + self.noise((4,), dtype=x.dtype)

    yield mlp(more=[lambda: Noisy(1)])
    yield mlp(more=[lambda: Noisy(2)])


# Models.


class Scaled(keras.Model):
    """A model with what a user may give it, used in its loss or step."""

    def __init__(self, beta, where):
        super().__init__()
        self.beta = beta
        self.where = where
        self.hidden = keras.layers.Dense(4, activation="tanh")
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))

    def factor(self):
        beta = self.beta
        if isinstance(beta, dict):
            beta = beta["deep"][0].sum()
        if isinstance(beta, Data):
            beta = beta.more[0].by
        return beta

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        return loss * self.factor() if self.where == "loss" else loss

    def train_step(self, data):
        x, y = data[:2]
        if self.where == "step":
            data = (x * self.factor(), y)
        return super().train_step(data)


def scaled_model(beta, where):
    def make():
        model = Scaled(beta, where)
        model.compile(keras.optimizers.SGD(0.05), "mse")
        return model

    return make


for _where in ("loss", "step"):
    for _name, _betas in {
        "a number": (1.0, 0.1),
        "arrays in lists in a dictionary": (
            {"deep": [np.array([0.5, 0.5])]},
            {"deep": [np.array([0.5, 0.1])]},
        ),
        "an object in a list in an object": (
            Data(0.0, [Data(1.0)]),
            Data(0.0, [Data(0.1)]),
        ),
    }.items():
        PAIRS[f"{_name} of a model, in its {_where}"] = functools.partial(
            lambda where, betas: (scaled_model(beta, where) for beta in betas),
            _where,
            _betas,
        )


def functional(change):
    def make():
        inputs = keras.Input((N_FEATURES,))
        first = keras.layers.Dense(4, activation="tanh")(inputs)
        second = keras.layers.Dense(4, activation="tanh")(first)
        outputs = keras.layers.Dense(1)(change(first, second))
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.05), "mse")
        return model

    return make


@pair
def the_wiring_of_a_model():
    yield functional(lambda first, second: first + 2 * second)
    yield functional(lambda first, second: second + 2 * first)


@pair
def a_number_in_the_wiring():
    yield functional(lambda first, second: first + 2 * second)
    yield functional(lambda first, second: first + 5 * second)


@pair
def an_array_in_the_wiring():
    yield functional(lambda first, second: second * np.array([1.0, 2.0, 3.0, 4.0]))
    yield functional(lambda first, second: second * np.array([1.0, 2.0, 3.0, 9.0]))


@pair
def a_lambda_in_a_lambda_layer():
    yield mlp(more=[lambda: keras.layers.Lambda(lambda z: scaled(z, ALPHA))])
    with patch.dict(globals(), ALPHA=2.0):
        yield mlp(more=[lambda: keras.layers.Lambda(lambda z: scaled(z, ALPHA))])


# Keras itself.


@pair
def a_method_of_keras_replaced():
    yield mlp()
    with patch.object(keras.layers.Dense, "call", double_of(keras.layers.Dense.call)):
        yield mlp()


def double_of(call):
    def doubled(self, inputs, training=None):
        return 2 * call(self, inputs, training=training)

    return doubled


@pair
def a_method_of_keras_optimizer_replaced():
    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, 0.01 * gradient)

    yield mlp()
    with patch.object(keras.optimizers.SGD, "update_step", update_step):
        yield mlp()


@pair
def the_epsilon_of_keras():
    before = keras.config.epsilon()
    yield mlp(loss="mape")
    try:
        keras.config.set_epsilon(0.5)
        yield mlp(loss="mape")
    finally:
        keras.config.set_epsilon(before)


@pair
def the_type_of_keras():
    before = keras.config.floatx()
    yield mlp(more=[lambda: keras.layers.Lambda(rounded)])
    try:
        keras.config.set_floatx("float16")
        yield mlp(more=[lambda: keras.layers.Lambda(rounded)])
    finally:
        keras.config.set_floatx(before)


def rounded(z):
    return ops.cast(ops.cast(100 * z, keras.config.floatx()), z.dtype) / 100


# What runs in NumPy, until something is changed that is not known there.


IN_NUMPY = {}


def in_numpy(path, value, loss=keras.losses.MeanSquaredError, **network):
    def cases():
        yield lambda: mlp(loss=loss(), **network)()
        yield lambda: mlp(loss=loss(), **network, change=changed(path, value))()

    IN_NUMPY[f"{path} set in place"] = cases


in_numpy("optimizer.momentum", 0.0, optimizer=lambda: keras.optimizers.SGD(0.05, 0.9))
in_numpy("optimizer.beta_2", 0.5, optimizer=adam)
in_numpy("optimizer.clipvalue", 0.01)
in_numpy(
    "optimizer.update_step", lambda gradient, variable, rate: variable.assign(variable)
)
in_numpy("0.activation", ops.sin)
in_numpy("0.trainable", False)
in_numpy("0.kernel.regularizer", keras.regularizers.L2(0.5))
in_numpy("0.bias.constraint", keras.constraints.MaxNorm(0.01))
in_numpy("loss.call", lambda y, p: ops.mean(ops.abs(y - p), axis=-1))
in_numpy("loss.fn", keras.losses.mean_absolute_error)
in_numpy("loss.reduction", "sum")
in_numpy(
    "compute_loss",
    lambda x, y, y_pred, *rest, **more: ops.mean(ops.abs(y - y_pred)),
)


def numpy_pair(name, *patched):
    def cases():
        yield lambda: mlp(loss=keras.losses.MeanSquaredError())()
        with patch.object(*patched):
            yield lambda: mlp(loss=keras.losses.MeanSquaredError())()

    IN_NUMPY[name] = cases


numpy_pair(
    "a method of Dense replaced",
    *(keras.layers.Dense, "call", double_of(keras.layers.Dense.call)),
)
numpy_pair(
    "a method of a loss replaced",
    *(keras.losses.MeanSquaredError, "call", lambda self, y, p: ops.abs(y - p)),
)
