"""What a user would keep in a module of their own: build functions, layers, losses."""

import random

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


def build_tutorial(n_hidden=1, n_neurons=8, learning_rate=3e-3, input_shape=[8]):  # noqa: B006
    """The function of a Keras tutorial, which compiles its model."""
    model = keras.Sequential([layers.Input(shape=input_shape)])
    for _ in range(n_hidden):
        model.add(layers.Dense(n_neurons, activation="relu"))
    model.add(layers.Dense(1))
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(learning_rate))
    return model


def build_squashed(width=4, squash="tanh", input_shape=(8,)):
    """Parameters that no estimator has; left uncompiled."""
    return keras.Sequential(
        [
            layers.Input(input_shape),
            layers.Dense(width, activation=squash),
            layers.Dense(1),
        ]
    )


def build_functional(input_shape, n_outputs=1):
    """Inputs beside what was learned of them, one of the layers with dropout."""
    inputs = layers.Input(input_shape)
    hidden = layers.Dense(8, activation="relu")(inputs)
    hidden = layers.Dropout(0.2)(hidden)
    joined = layers.Concatenate()([inputs, hidden])
    return keras.Model(inputs, layers.Dense(n_outputs)(joined))


class WideAndDeep(keras.Model):
    """A subclass that no configuration describes."""

    def __init__(self, n_neurons):
        super().__init__()
        self.deep = layers.Dense(n_neurons, activation="relu")
        self.dropout = layers.Dropout(0.2)
        self.top = layers.Dense(1)

    def call(self, inputs, training=False):
        deep = self.dropout(self.deep(inputs), training=training)
        return self.top(ops.concatenate([inputs, deep], axis=-1))


def build_subclassed(n_neurons=8):
    return WideAndDeep(n_neurons)


class Lazy(keras.Model):
    """Makes its layers once it sees rows."""

    def build(self, input_shape):
        self.hidden = layers.Dense(8, activation="relu")
        self.hidden.build(input_shape)
        self.top = layers.Dense(1)
        self.top.build((None, 8))

    def call(self, inputs):
        return self.top(self.hidden(inputs))


def build_lazily():
    return Lazy()


class Scaled(layers.Layer):
    """A layer of the user's own, with a weight and an argument."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.start),
        )

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "start": self.start}


def build_with_custom_layer(input_shape):
    return keras.Sequential(
        [
            layers.Input(input_shape),
            Scaled(0.5),
            layers.Dense(8, activation="relu"),
            layers.Dense(1),
        ]
    )


def build_with_lambda_layer(input_shape):
    square = layers.Lambda(lambda z: ops.square(z))
    return keras.Sequential([layers.Input(input_shape), square, layers.Dense(1)])


class Residual(layers.Layer):
    """A layer of layers: what it is given, and what it makes of that."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization()
        self.dropout = layers.Dropout(0.2)

    def build(self, input_shape):
        self.dense = layers.Dense(input_shape[-1], activation=bent)
        self.dense.build(input_shape)
        self.norm.build(input_shape)

    def call(self, inputs, training=False):
        hidden = self.dense(self.norm(inputs))
        return inputs + self.dropout(hidden, training=training)


def build_residual(input_shape):
    inputs = layers.Input(input_shape)
    hidden = Residual()(Residual()(inputs))
    return keras.Model(inputs, layers.Dense(1)(hidden))


class NoisyInputs(keras.Model):
    """A training step of its own, with random numbers in it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.noise = keras.random.SeedGenerator(1)

    def train_step(self, data):
        x, y = data
        x += 0.1 * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=self.noise)
        return super().train_step((x, y))


class HalfSteps(keras.optimizers.SGD):
    """An optimizer of the user's own, with an argument."""

    def __init__(self, share=0.5, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self.share * learning_rate)

    def get_config(self):
        return {**super().get_config(), "share": self.share}


class LargestError(keras.metrics.Metric):
    """A metric of the user's own, with an argument."""

    def __init__(self, unit=1.0, name="largest_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.unit = unit
        self.largest = self.add_variable((), "zeros", name="largest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.cast(ops.max(ops.abs(y_true - y_pred)) / self.unit, self.dtype)
        self.largest.assign(ops.maximum(self.largest, error))

    def result(self):
        return self.largest

    def get_config(self):
        return {**super().get_config(), "unit": self.unit}


def build_noisy(input_shape):
    inputs = layers.Input(input_shape)
    return NoisyInputs(inputs, layers.Dense(1)(inputs))


def bent(z):
    """An activation function of the user's own."""
    return ops.where(z > 0, z, 0.1 * z)


def quartic(y_true, y_pred):
    """A loss function of the user's own."""
    return ops.mean((y_true - y_pred) ** 4, axis=-1)


class Quantile(keras.losses.Loss):
    """A loss class of the user's own, with an argument."""

    def __init__(self, quantile=0.5, **kwargs):
        super().__init__(**kwargs)
        self.quantile = quantile

    def call(self, y_true, y_pred):
        error = y_true - y_pred
        pinball = ops.maximum(self.quantile * error, (self.quantile - 1) * error)
        return ops.mean(pinball, axis=-1)

    def get_config(self):
        return {**super().get_config(), "quantile": self.quantile}


def build_with_global_draws(input_shape):
    """Reads and moves every global generator there is."""
    start = random.random() + np.random.rand()  # noqa: NPY002
    start += float(tf.random.uniform(()))
    start += float(keras.random.uniform(()))
    return keras.Sequential(
        [
            layers.Input(input_shape),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.2),
            Scaled(start),
            layers.Dense(1),
        ]
    )


def build_that_raises(input_shape):
    """Reads the global generators, and fails."""
    return len(build_with_global_draws(input_shape).layers) / 0


def build_softmax(input_shape, n_classes):
    """A unit for each class, of two classes as well."""
    return keras.Sequential(
        [layers.Input(input_shape), layers.Dense(n_classes, activation="softmax")]
    )


class Counter(keras.callbacks.Callback):
    """Counts the epochs it has seen."""

    def __init__(self):
        super().__init__()
        self.epochs_counted = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_counted += 1
        self.model.epochs_counted = self.epochs_counted
