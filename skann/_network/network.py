"""The one network of an estimator: in arrays, as a Keras model, or as both.

Of many a small fit, half of the time would go into objects of Keras', and more than all
of it into the start of tensorflow. What a plain stack computes is known without them:
it is trained, asked for outputs and saved in arrays. Its Keras model is made when
somebody asks for it.
"""

import functools
import threading
from contextlib import contextmanager, suppress
from typing import Any

from skann._data.rows import check_fits, largest_of
from skann._keras.names import canonical_name
from skann._network.problem import Head
from skann._network.stack import Stack, layers_of
from skann._runtime.start import with_keras
from skann._training.numpy.fit import train_in_numpy


class Network:
    """A network, of which arrays and a Keras model may be two forms.

    Where there are arrays they are what it is, and the model, if it was made, is given
    their values when it is asked for next. Where there are none, it is the model.

    Parameters
    ----------
    arrays : ArrayState, default=None
    keras : KerasNetwork, default=None
    source : object, default=None
        What makes the Keras model (``make``) of a network that has none yet, and tells
        the shape and types of its rows.
    """

    def __init__(self, arrays=None, keras=None, source=None):
        self._arrays = arrays
        self._keras = keras
        self._source = source
        self._is_training = False
        # Held while the two forms are brought in step; none of the user's code runs.
        self._lock = threading.RLock()
        # The arrays whose values the model has, and what became of the last fit in
        # arrays.
        self._given = self._reported = None
        # A thread that trains what is in arrays, and the arrays from before it began.
        self._before = None
        self._kept: tuple[Any, Any] = None, None

    @classmethod
    def of_model(cls, model, is_lent=True):
        """Return the network that a Keras model is."""
        return cls(keras=with_keras().KerasNetwork(model, is_lent))

    # -- what it is --------------------------------------------------------------------

    @property
    def input_dtype(self):
        """Floating type in which targets and weights are given to the network."""
        if self._arrays is not None:
            return self._arrays.description.dtype
        return (self._keras or self._source).input_dtype

    @property
    def rows_dtype(self):
        """Type in which rows are given to the network."""
        if self._arrays is not None:
            return self._arrays.description.dtype
        return (self._keras or self._source).rows_dtype

    @functools.cached_property
    def largest(self):
        """The largest number in X that needs no look at its type."""
        return largest_of(self.rows_dtype)

    def check(self, X):
        """Raise ValueError where X has values that the network cannot be fed."""
        if self._arrays is None and self._keras is not None:
            self._keras.check(X)
        else:
            check_fits(X, self.rows_dtype)

    @property
    def learning_rate(self):
        """The learning rate that was trained with last."""
        if self._arrays is not None:
            return self._arrays.rate
        # A build function, an optimizer or a callback may have set another.
        return float(self.model.optimizer.learning_rate)

    @learning_rate.setter
    def learning_rate(self, rate):
        if self._arrays is not None:
            self._arrays = self._arrays.with_rate(rate)
        else:
            self.model.optimizer.learning_rate = rate

    def head(self, row_shape):
        """Return what the target's encoding depends on (Head)."""
        if self._arrays is None:
            return with_keras().head_of(self.model, row_shape)
        description = self._arrays.description
        loss, last = description.loss, description.layers[-1]
        name = canonical_name(loss)
        return Head(name, False, last.n_outputs, last.activation, loss)

    def has_hidden_layers(self):
        """Whether the network is skann's own and more than a linear model."""
        if self._arrays is not None:
            return len(self._arrays.description.layers) > 1
        return with_keras().n_dense_layers(self._keras.model) > 1

    def take_units(self, inputs, unit):
        """Have the network take X, and give its outputs, in units of its own.

        Parameters
        ----------
        inputs : InputScale or None
        unit : Unit or None
        """
        if self._arrays is not None:
            self._arrays = self._arrays.with_units(inputs, unit)
        else:
            model = with_keras().in_units(self._keras.model, inputs, unit)
            self._keras = with_keras().KerasNetwork(model, self._keras.is_lent)
        if self._source is not None:
            self._source = self._source.with_units(inputs, unit)

    # -- the Keras model ---------------------------------------------------------------

    @property
    def model(self):
        """The Keras model as the network is now, made if there is none."""
        if self._is_training:
            raise AttributeError("There is no model_ while a fit in NumPy trains.")
        if self._keras is None:
            # No lock is held meanwhile: a build function under Keras' may ask for this.
            arrays, reported = self._arrays, self._reported
            model = self._source.make(arrays)
            if reported is not None:
                with_keras().take_history(model, reported)
            keras = with_keras().KerasNetwork(model, is_lent=False)
            with self._lock:
                if self._keras is None:  # Else another thread has made one meanwhile.
                    self._keras, self._given = keras, arrays
        with self._lock:
            self._give()
        return self._keras.model

    def _give(self):
        """Give the model the values of the arrays, unless it has them."""
        arrays = self._arrays
        if arrays is None or arrays is self._given:
            return
        with self._keras.changing():
            with_keras().give_arrays(self._keras.model, arrays)
            if self._reported is not None:
                with_keras().take_history(self._keras.model, self._reported)
        self._given = arrays

    def _give_up_arrays(self):
        """Let the model be the network from now on."""
        _ = self.model
        with self._lock:
            self._give()
            self._arrays = None

    def lend(self):
        """Return the Keras model to someone who may change it."""
        _ = self.model
        with self._lock:
            self._give()
            self._arrays = None
            return self._keras.lend()

    def _is_lent(self):
        return self._keras is not None and self._keras.is_lent

    def _is_own(self):
        """Whether nobody else has the model, and its source says all of it."""
        return self._source is not None and not self._is_lent()

    # -- training ----------------------------------------------------------------------

    def in_arrays(self, row_shape):
        """Return the network in arrays (ArrayState), or None where it cannot be so."""
        with self._lock:
            if self._arrays is None:
                self._arrays = self._given = self._as_arrays(row_shape)
            return self._arrays

    def _as_arrays(self, row_shape):
        if self._keras is None or not self._is_own():
            return None
        return with_keras().array_state_of(self._keras.model, row_shape)

    def know_rows(self, feed):
        """Learn what rows the network is trained on, for a Keras model made later."""
        if self._source is not None:
            self._source = self._source.of_rows(feed)

    def train_in_arrays(self, arrays, feed, validation, **how):
        """Train a network that is in these arrays; see ``train_in_numpy``."""
        state = arrays.copy()
        self._is_training = self._keras is None and not arrays.n_steps
        try:
            trained = train_in_numpy(state, feed, validation, **how)
        finally:
            self._is_training = False
        with self._lock:
            # At once: other threads predict by what they have read.
            self._arrays, self._reported = state, trained
            if self._is_lent():  # By another thread, meanwhile.
                self._give()
                self._arrays = None
        return trained

    @contextmanager
    def training(self):
        """Give the Keras model to the block, to train it."""
        self._give_up_arrays()
        with self._keras.changing():
            try:
                yield self._keras.model
            finally:
                self._arrays = self._given = None

    @contextmanager
    def as_it_was_on_failure(self):
        """Put everything back if the block fails.

        Until it is done, other threads predict by the weights from before.
        """
        in_arrays = self._arrays is not None
        with self._arrays_as_they_were() if in_arrays else self._model_as_it_was():
            yield

    @contextmanager
    def _arrays_as_they_were(self):
        arrays = self._arrays
        self._before = threading.get_ident(), arrays
        try:
            yield
        except BaseException:
            self._arrays, self._given = arrays, None
            if self._is_lent():
                # A callback may have compiled the model to another optimizer: then the
                # arrays stay what the network is.
                with suppress(Exception):
                    self._give_up_arrays()
            raise
        finally:
            self._before = None

    @contextmanager
    def _model_as_it_was(self):
        values = with_keras().all_values_of(self.model)
        with self._keras.changing():
            try:
                yield
            except BaseException:
                self._arrays = self._given = None
                with_keras().assign_values(self._keras.model, values)
                raise

    # -- predictions -------------------------------------------------------------------

    def outputs(self, X):
        """Return the outputs for every row, of shape (n, n_outputs), float64.

        Parameters
        ----------
        X : ndarray, memmap or CSR matrix of shape (n, ...)
            Read a chunk at a time.
        """
        # Another thread may train on meanwhile: what is kept belongs to these.
        arrays, before = self._arrays, self._before
        if before is not None and before[0] != threading.get_ident():
            arrays = before[1]
        if arrays is not None:
            of, stack = self._kept
            if of is not arrays:
                description = arrays.description
                row_shape = (description.layers[0].n_inputs,)
                layers = layers_of(description, arrays.parameters)
                stack = Stack(layers, row_shape)
                self._kept = arrays, stack
            return stack.outputs(X.reshape(len(X), -1) if X.ndim > 2 else X)
        if self._keras is None:
            return self._source.outputs(X)
        return self._keras.outputs(X)

    # -- pickles -----------------------------------------------------------------------

    def packed(self, recipe=None, makes=None, row_shape=None):
        """Return the network as plain data, for ``unpacked``.

        Parameters
        ----------
        recipe : tuple, default=None
            Arguments of ``build_model`` that build such a model again, for one of the
            user's whose configuration does not.
        makes : tuple, default=None
            The outline of what the recipe makes.
        row_shape : tuple of int, default=None
            Shape of one row of X.
        """
        if (recipe is None and self._keras is None) or self._arrays is not None:
            return {"arrays": self._arrays, "source": self._source}
        if recipe is None and self._is_own() and self.in_arrays(row_shape):
            return {"arrays": self._arrays, "source": self._source}
        own = self._source.recipe if self._is_own() else None
        return with_keras().pack(self._keras.model, recipe, makes, row_shape, own)

    @classmethod
    def unpacked(cls, packed):
        """Return the network that was packed."""
        if packed.keys() == {"arrays", "source"}:
            return cls(**packed)
        return with_keras().unpacked(packed)
