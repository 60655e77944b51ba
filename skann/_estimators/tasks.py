"""A fit and its epochs as the tasks that scikit-learn's callbacks see.

scikit-learn's callbacks (``sklearn.callback``, new in 1.9) hear of tasks and their
subtasks: a search has candidates, a Pipeline steps, and a fit here has epochs. They
have no part in training unless some are set; then each epoch calls them through one
Keras callback.
"""

from contextlib import contextmanager

from skann._runtime.private import callback_context, has_callbacks
from skann._runtime.start import with_keras


class FitTask:
    """The task of one call of ``fit``.

    Parameters
    ----------
    estimator : BaseMLPKeras
    X, y, sample_weight : object
        What ``fit`` was given.
    epochs : int
        The most epochs that the fit may have.
    """

    def __init__(self, estimator, X, y, sample_weight, epochs):
        weights = None if sample_weight is None else {"sample_weight": sample_weight}
        self._estimator = estimator
        self._given = {"X": X, "y": y, "metadata": weights}
        self._context = callback_context(estimator, epochs)

    @contextmanager
    def running(self):
        """Tell of the begin and the end of the fit that the block is."""
        self._begin(self._context)
        yield
        self._end(self._context)

    def keras_callbacks(self):
        """Return the Keras callback that tells of epochs, where anyone listens."""
        listens = has_callbacks(self._estimator)
        return [with_keras().EpochTasks(self)] if listens else []

    def begin_epoch(self):
        """Tell that an epoch begins, and return its task."""
        epoch = self._context.subcontext(task_name="epoch")
        self._begin(epoch)
        return epoch

    def end_epoch(self, epoch):
        """Tell that an epoch has ended, and return whether the fit is to stop."""
        return self._end(epoch)

    def _begin(self, context):
        context.call_on_fit_task_begin(estimator=self._estimator, **self._given)

    def _end(self, context):
        # A copy of the estimator is a fitted one as it stands, between epochs as well:
        # nothing needs to be set on it.
        return context.call_on_fit_task_end(
            estimator=self._estimator, **self._given, reconstruction_attributes={}
        )
