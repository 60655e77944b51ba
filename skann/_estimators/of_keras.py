"""A constraint of parameters: an object of one of Keras' classes."""

from skann._runtime.private import HasMethods
from skann._runtime.start import is_of_keras


class OfKeras(HasMethods):
    """Satisfied by what is an instance of a class of Keras'.

    Parameters
    ----------
    name : str
        As it is in Keras, "losses.Loss".
    """

    def __init__(self, name):
        super().__init__([])
        self._name = name

    def is_satisfied_by(self, val):
        """Whether a value is such an object; only if Keras is imported can it be."""
        return is_of_keras(val, self._name)

    def __str__(self):
        return f"an instance of 'keras.{self._name}'"
