"""The epochs of a fit, told to scikit-learn's callbacks by one of Keras'."""

import keras


class EpochTasks(keras.callbacks.Callback):
    """Tells scikit-learn's callbacks of the epochs of a fit."""

    def __init__(self, task):
        super().__init__()
        self._task = task
        self._epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = self._task.begin_epoch()

    def on_epoch_end(self, epoch, logs=None):
        if self._task.end_epoch(self._epoch):
            self.model.stop_training = True
