"""A penalty on kernels of any type."""

import keras


@keras.saving.register_keras_serializable("skann")
class CastPenalty(keras.regularizers.L1L2):
    """Keras' L1L2 for kernels of another type than float32, that of Keras' losses."""

    def __call__(self, x):
        """Return the penalty on a kernel, as Keras adds it up: in its default type."""
        return keras.ops.cast(super().__call__(x), keras.config.floatx())
