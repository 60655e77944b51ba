"""Every layer of Keras' in a small network, and on what rows it works."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

# What no network of a single numeric input can show, and why.
LEFT_OUT = {
    "Layer": "the base of all, which does nothing",
    "Wrapper": "the base of wrappers, which does nothing",
    "InputLayer": "part of every network here",
    "MaxNumBoundingBoxes": "takes bounding boxes, in a dict",
    "CutMix": "takes images and labels, in a dict",
    "JaxLayer": "needs JAX",
    "FlaxLayer": "needs JAX",
    "TorchModuleWrapper": "needs torch",
    "TFSMLayer": "keeps nothing but the name of a file",
}

# What Keras cannot make of its own configuration: no copy of a ready model has it.
NEVER_READY = {"RandomShear"}

SHAPES = {"1D": (6, 2), "2D": (6, 6, 3), "3D": (4, 4, 4, 2)}
VECTOR, SEQUENCE, IMAGE = (4,), *(SHAPES[n] for n in ("1D", "2D"))


class Twice(layers.Layer):
    """Gives what it is given to a layer of two inputs."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build([input_shape, input_shape])

    def call(self, x):
        return self.layer([x, x])

    def compute_output_spec(self, x):
        return self.layer.compute_output_spec([x, x])

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


class AsText(layers.Layer):
    """Numbers as words."""

    def call(self, x):
        return tf.strings.as_string(tf.cast(x, "int64"))

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, "string")


def adapted(layer, rows):
    layer.adapt(rows)
    return layer


def rows_of(shape, n=8):
    """Return rows of small whole numbers."""
    return np.random.default_rng(0).integers(0, 5, (n, *shape)).astype("float64")


def of_words(layer, shape=VECTOR):
    layer.adapt(AsText()(rows_of(shape)))
    return keras.Sequential([layers.Input(shape), AsText(), layer])


def attention(layer):
    x = layers.Input(SEQUENCE)
    return keras.Model(x, layer(x, x))


def square(x):
    return keras.ops.square(x)


# What makes a layer that takes arguments. The shape of its rows is that of its name's
# last letters, or of images for what changes images, or four numbers; or it is given.
MAKERS = {
    "Activation": lambda: layers.Activation("tanh"),
    "ActivityRegularization": lambda: layers.ActivityRegularization(l2=0.1),
    "AlphaDropout": lambda: layers.AlphaDropout(0.3),
    "Bidirectional": lambda: layers.Bidirectional(layers.GRU(2)),
    "CategoryEncoding": lambda: layers.CategoryEncoding(num_tokens=5),
    "CenterCrop": lambda: layers.CenterCrop(4, 4),
    "Dense": lambda: layers.Dense(2),
    "Discretization": lambda: adapted(
        layers.Discretization(num_bins=3), rows_of(VECTOR)
    ),
    "Dot": lambda: Twice(layers.Dot(axes=1)),
    "Dropout": lambda: layers.Dropout(0.3),
    "EinsumDense": lambda: layers.EinsumDense("ab,bc->ac", output_shape=2),
    "Embedding": lambda: layers.Embedding(5, 2),
    "GRU": lambda: layers.GRU(2, dropout=0.2),
    "GRUCell": lambda: layers.RNN(layers.GRUCell(2, dropout=0.2)),
    "GaussianDropout": lambda: layers.GaussianDropout(0.3),
    "GaussianNoise": lambda: layers.GaussianNoise(0.3),
    "GroupNormalization": lambda: layers.GroupNormalization(groups=2),
    "GroupQueryAttention": lambda: attention(
        layers.GroupQueryAttention(2, num_query_heads=2, num_key_value_heads=1)
    ),
    "HashedCrossing": lambda: Twice(layers.HashedCrossing(5)),
    "Hashing": lambda: layers.Hashing(3),
    "IntegerLookup": lambda: adapted(
        layers.IntegerLookup(), rows_of(VECTOR).astype("int64")
    ),
    "LSTM": lambda: layers.LSTM(2),
    "LSTMCell": lambda: layers.RNN(layers.LSTMCell(2)),
    "Lambda": lambda: layers.Lambda(square),
    "MelSpectrogram": lambda: layers.MelSpectrogram(
        fft_length=8, sequence_stride=4, num_mel_bins=4
    ),
    "MultiHeadAttention": lambda: attention(layers.MultiHeadAttention(2, 2)),
    "Normalization": lambda: adapted(layers.Normalization(), rows_of(VECTOR)),
    "Permute": lambda: layers.Permute((2, 1)),
    "Pipeline": lambda: layers.Pipeline([layers.RandomFlip(), layers.Rescaling(0.5)]),
    "RNN": lambda: layers.RNN(layers.SimpleRNNCell(2)),
    "RandomBrightness": lambda: layers.RandomBrightness(0.2, value_range=(0, 5)),
    "RandomColorJitter": lambda: layers.RandomColorJitter((0, 5), 0.2, 0.2, 0.2, 0.2),
    "RandomContrast": lambda: layers.RandomContrast(0.2, value_range=(0, 5)),
    "RandomCrop": lambda: layers.RandomCrop(6, 6),
    "RandomPosterization": lambda: layers.RandomPosterization(4),
    "RandomRotation": lambda: layers.RandomRotation(0.2),
    "RandomShear": lambda: layers.RandomShear(0.5, 0.5),
    "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.2),
    "RandomZoom": lambda: layers.RandomZoom(0.2),
    "RepeatVector": lambda: layers.RepeatVector(2),
    "Rescaling": lambda: layers.Rescaling(0.5, 1.0),
    "Reshape": lambda: layers.Reshape((2, 2)),
    "Resizing": lambda: layers.Resizing(3, 3),
    "ReversibleEmbedding": lambda: layers.ReversibleEmbedding(5, 2),
    "STFTSpectrogram": lambda: layers.STFTSpectrogram(frame_length=4, fft_length=4),
    "SimpleRNN": lambda: layers.SimpleRNN(2),
    "SimpleRNNCell": lambda: layers.RNN(layers.SimpleRNNCell(2)),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Dense(2)),
    "StackedRNNCells": lambda: layers.RNN(
        layers.StackedRNNCells([layers.GRUCell(2), layers.LSTMCell(2)])
    ),
    "StringLookup": lambda: of_words(layers.StringLookup(output_mode="tf_idf")),
    "TextVectorization": lambda: of_words(
        layers.TextVectorization(output_sequence_length=2), (1,)
    ),
    "TimeDistributed": lambda: layers.TimeDistributed(
        adapted(layers.Normalization(), rows_of((2,)))
    ),
    **{
        f"Random{name}": lambda name=name: getattr(layers, f"Random{name}")(0.5)
        for name in ("ColorDegeneration", "Hue", "Saturation", "Sharpness")
    },
    **{
        name: lambda name=name: Twice(getattr(layers, name)())
        for name in (
            *("Add", "AdditiveAttention", "Attention", "Average", "Concatenate"),
            *("Maximum", "Minimum", "Multiply", "Subtract"),
        )
    },
}
BY_SUFFIX = {
    "AdaptiveAveragePooling": (2,),
    "AdaptiveMaxPooling": (2,),
    "AveragePooling": (2,),
    "AvgPool": (2,),
    "Conv": (2, 2),
    "Convolution": (2, 2),
    "ConvLSTM": (2, 2),
    "DepthwiseConv": (2,),
    "SeparableConv": (2, 2),
    "SeparableConvolution": (2, 2),
    "SpatialDropout": (0.3,),
}
ON_SEQUENCES = {
    *("AdditiveAttention", "Attention", "Bidirectional", "GRU", "GRUCell", "LSTM"),
    *("GroupQueryAttention", "LSTMCell", "Masking", "MultiHeadAttention", "Permute"),
    *("RNN", "SimpleRNN", "SimpleRNNCell", "StackedRNNCells", "TimeDistributed"),
}
ON_IMAGES = {
    *("AugMix", "AutoContrast", "CenterCrop", "Equalization", "MixUp", "Pipeline"),
    *("ContrastLimitedAdaptiveHistogramEqualization", "RandAugment", "Resizing"),
    "Solarization",
}
OTHER_SHAPES = {
    "MelSpectrogram": (16,),
    "STFTSpectrogram": (16, 1),
    "TextVectorization": (1,),
    "HashedCrossing": (1,),
    "ConvLSTM1D": (2, 4, 2),
    "ConvLSTM2D": (2, 4, 4, 2),
    "ConvLSTM3D": (2, 3, 3, 3, 1),
}
INTEGERS = {"IntegerLookup", "Hashing", "HashedCrossing", "CategoryEncoding"}


def every_layer():
    """Return the names of all layers that Keras has, each class once."""
    classes = {}
    for name in sorted(dir(layers)):
        thing = getattr(layers, name)
        if isinstance(thing, type) and issubclass(thing, layers.Layer):
            classes.setdefault(thing, name)
    return sorted(classes.values())


def shape_for(name):
    if name in OTHER_SHAPES:
        return OTHER_SHAPES[name]
    if name in ON_SEQUENCES:
        return SEQUENCE
    if name in ON_IMAGES or name.startswith("Random"):
        return IMAGE
    kind = name.removesuffix("Transpose")
    return SHAPES.get(kind[-2:], VECTOR)


def make(name):
    """Return a new layer of this name; TypeError where its arguments are not known."""
    if name in MAKERS:
        return MAKERS[name]()
    kind = name.removesuffix("Transpose")[:-2]
    return getattr(layers, name)(*BY_SUFFIX.get(kind, ()))


def build_with(name):
    """A network of one layer, and what brings its outputs to a number."""
    dtype = "int64" if name in INTEGERS else "float32"
    inputs = layers.Input(shape_for(name), dtype=dtype)
    outputs = make(name)(inputs)
    outputs = layers.Rescaling(1.0)(outputs)
    outputs = layers.Dense(1)(layers.Flatten()(outputs))
    return keras.Model(inputs, outputs)


def has_state(name):
    """Whether a layer knows more than its configuration says: weights, seeds, words."""
    network = build_with(name)
    parts = network._flatten_layers()
    # The last layer has two variables.
    return len(network.variables) > 2 or any(hasattr(x, "adapt") for x in parts)
