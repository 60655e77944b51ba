"""How an estimator trains its network, and what it notes of that."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.base import BaseEstimator

from skann._data.feed import Feed
from skann._data.rows import average_of_one
from skann._network.y_scale import unit_in
from skann._runtime.private import validate_parameters
from skann._runtime.seeds import Seeds, in_order
from skann._runtime.start import is_limited_by_keras, with_keras
from skann._runtime.text import one_line
from skann._training import monitor
from skann._training.history import best_epoch, divergence_text, joined
from skann._training.numpy.fit import EarlyStopping
from skann._training.paths import checkpoint_path_of, run_directory
from skann._training.range_test import range_test, rates_to_test
from skann._training.schedules import Schedule
from skann._training.work import compiling_pays
from skann.exceptions import DivergenceError, DivergenceWarning, ModelError

if TYPE_CHECKING:
    from skann._types import Callback, Engine


@dataclass
class Run:
    """How one call of ``fit`` trains: its arguments, or else the parameters."""

    epochs: int
    batch_size: int
    verbose: int
    callbacks: list[Callback]
    own_copies: list[Callback]
    stops_early: bool = False
    direction: str | None = None
    is_partial: bool = False

    @property
    def arguments(self):
        """Those arguments of ``fit`` that a build function may ask for."""
        names = () if self.is_partial else ("epochs", "batch_size", "verbose")
        return {name: getattr(self, name) for name in names}


class TrainsNetwork(BaseEstimator):
    """Mixin of the estimators: from a network and data to a trained one."""

    history_: dict[str, list[float]]
    loss_curve_: list[float]
    n_iter_: int
    best_epoch_: int | None
    engine_: Engine
    learning_rate_: float
    checkpoint_path_: str
    tensorboard_dir_: str
    callbacks_: list[Callback]

    def _train(self, data, run, goes_on):
        class_weight = getattr(self, "class_weight", None)
        feed = self._feed(data, class_weight, run.is_partial)
        validation = None if data.validation is None else self._feed(data.validation)
        # A larger batch is all rows, and may be no number that tensorflow takes.
        run.batch_size = min(run.batch_size, max(len(feed), len(validation or ())))
        network, first = self._network, self.n_iter_ if goes_on else 0
        if run.callbacks:  # They have the model.
            network.lend()
        network.know_rows(feed)
        arrays = self._arrays_to_train(feed, run)
        if arrays is not None:
            trained = self._train_in_arrays(arrays, feed, validation, run, first)
        else:
            with network.training() as model:
                trained = self._train_model(model, feed, validation, run, first)
        self.engine_ = trained.engine
        if run.own_copies:
            self.callbacks_ = run.own_copies
        self._record(trained, goes_on, run.direction)
        self._report_divergence(trained)

    def _arrays_to_train(self, feed, run):
        """Return the network in arrays, or None where its Keras model is to train."""
        asks_for_rate = self.learning_rate == "auto" and not hasattr(
            self, "learning_rate_"
        )
        if self._needs_model(run) or asks_for_rate or is_limited_by_keras():
            return None
        if feed.rows_dtype != feed.dtype:
            return None
        arrays = self._network.in_arrays(self._row_shape)
        if arrays is None:
            return None
        n_steps = run.epochs * -(-len(feed) // run.batch_size)
        pays = compiling_pays(n_steps, arrays.description.n_parameters)
        return None if pays else arrays

    def _train_in_arrays(self, arrays, feed, validation, run, first):
        if run.stops_early:
            monitor.check_monitors([self.monitor], ["loss"], validation is not None)
        run.direction = monitor.direction_of(self.monitor, self.monitor_mode, [])
        stopping = None
        if run.stops_early and not run.is_partial:
            stopping = EarlyStopping(
                self.monitor,
                run.direction,
                self.patience,
                self.min_delta,
                self.restore_best_weights,
            )
        return self._network.train_in_arrays(
            arrays,
            feed,
            validation,
            stopping=stopping,
            batch_size=run.batch_size,
            row_order=self._row_order(),
            initial_epoch=first,
            epochs=first + run.epochs,
            schedule=self._schedule(run, first),
        )

    def _train_model(self, model, feed, validation, run, first):
        parts = with_keras()
        self._prepare(model, feed)
        schedule = self._schedule(run, first)
        if schedule is not None:
            parts.check_has_rate(model, schedule.name)
        if self.learning_rate == "auto" and not hasattr(self, "learning_rate_"):
            test = self._test_learning_rates(model, feed, run)
            self.learning_rate_ = model.optimizer.learning_rate = test.suggestion
            if run.verbose:
                print(f"skann: learning rate {test.suggestion:.3g}, by a range test.")
        compares = not run.is_partial and self._compares_checkpoints()
        monitored = [self.monitor] if run.stops_early or compares else []
        names = monitored + monitor.monitors(run.callbacks)
        reported = parts.reported_by(model)
        unknown = monitor.check_monitors(
            names, reported, validation is not None, run.callbacks
        )
        monitor.check_callbacks(run.callbacks, model.metrics)
        way = monitor.direction_of(self.monitor, self.monitor_mode, model.metrics)
        if monitored or self.monitor.removeprefix("val_") in (reported or ()):
            monitor.check_direction(self.monitor, way)
        run.direction = way
        own = [] if run.is_partial else self._own_callbacks(run)
        with parts.opened(own):
            return parts.train(
                model,
                feed,
                validation,
                callbacks=[*run.callbacks, *parts.checks_of(unknown), *own],
                batch_size=run.batch_size,
                row_order=self._row_order(),
                initial_epoch=first,
                epochs=first + run.epochs,
                verbose=run.verbose,
                engine=self.engine,
                unit=unit_in(model, self.n_outputs_),
                schedule=schedule,
                batch_callback=parts.needs_batches(run.callbacks),
            )

    def _schedule(self, run, first):
        """Return the schedule of the learning rate from the first epoch on, or None."""
        name = self.learning_rate_schedule
        if name is None or run.is_partial:
            return None
        return Schedule(name, first, run.epochs)

    def _find_learning_rate(self, X, y, sample_weight, *bounds):
        """Make a learning rate range test, for ``skann.search``; nothing is fitted."""
        validate_parameters(self)
        data = self._validated_data(X, y, sample_weight, reset=True)
        self._seeds = Seeds.draw(self.random_state)
        self._build(data)
        model = self._network.model
        feed = self._feed(data, class_weight=getattr(self, "class_weight", None))
        self._prepare(model, feed)
        run = self._run(None, None, None, None)
        run.batch_size = min(run.batch_size, len(feed))
        return self._test_learning_rates(model, feed, run, *bounds)

    def _test_learning_rates(self, model, feed, run, *bounds):
        n_steps = run.epochs * -(-len(feed) // run.batch_size)
        return range_test(
            model,
            feed,
            rates_to_test(n_steps, *bounds),
            batch_size=run.batch_size,
            row_order=self._row_order(),
            engine=self.engine,
            unit=unit_in(model, self.n_outputs_),
        )

    def _row_order(self):
        return self._seeds.row_order if self.shuffle else in_order

    def _feed(self, data, class_weight=None, partial=False):
        weight = self._row_weights(data, class_weight, partial)
        dtype = self._network.input_dtype
        rows_dtype = self._network.rows_dtype
        self._network.check(data.X)
        y = self._target.encode(data.y)
        types = (dtype, self._target.dtype, rows_dtype)
        return Feed(data.X, y, weight, data.rows, *types)

    def _row_weights(self, data, class_weight, partial):
        """Return the rows' weights; the classifier multiplies those of the classes."""
        weight = data.sample_weight
        return None if weight is None else average_of_one(weight)

    def _prepare(self, model, feed):
        try:
            with_keras().prepare(model, feed)
        except Exception as error:
            values = {name: getattr(self, name) for name in _COMPUTED}
            given = [f"{k}={v!r}" for k, v in values.items() if v is not None]
            look_at = f"; look at {' and '.join(given)}" if given else ""
            raise ModelError(
                "The network, its loss or its metrics cannot be computed"
                f"{look_at}: {one_line(error)}"
            ) from error
        self._check_frozen(model)

    def _check_frozen(self, model):
        """Raise ModelError where layers that were frozen or unfrozen cannot be so."""
        unknown = with_keras().unknown_to_optimizer(model)
        if unknown:
            raise ModelError(
                f"The optimizer of model_ does not know {unknown[0].path!r}: layers "
                "were unfrozen after it was built. Compile `model_` anew."
            )
        if with_keras().has_misplaced_averages(model):
            raise ModelError(
                "The optimizer of model_ has use_ema=True, and layers were frozen "
                "after it was built: Keras would give variables the averages of "
                "others. Compile `model_` anew."
            )

    def _own_callbacks(self, run):
        """Return the Keras callbacks that the parameters ask for."""
        parts, callbacks = with_keras(), []
        if run.stops_early:
            callbacks.append(
                parts.early_stopping(
                    self.monitor,
                    run.direction,
                    self.patience,
                    self.min_delta,
                    self.restore_best_weights,
                )
            )
        if self.checkpoint_path is not None:
            path = self._own_checkpoint_path()
            self.checkpoint_path_ = str(path)
            callbacks.append(
                parts.Checkpoint(
                    path, self.monitor, run.direction, self.checkpoint_save_best_only
                )
            )
        if self.tensorboard_dir is not None:
            callback, run_dir = parts.tensorboard(self.tensorboard_dir)
            self.tensorboard_dir_ = run_dir
            callbacks.append(callback)
        return callbacks

    def _compares_checkpoints(self):
        """Whether an epoch is written only if it is better than those before."""
        return self.checkpoint_path is not None and self.checkpoint_save_best_only

    def _own_checkpoint_path(self):
        path = checkpoint_path_of(self.checkpoint_path)
        if not getattr(self, "_is_clone", False):
            return path
        return run_directory(path.parent, "checkpoint_path") / path.name

    def _record(self, trained, goes_on, direction):
        before = self.history_ if goes_on else {"loss": []}
        self.history_ = joined(before, trained.history)
        self.loss_curve_ = self.history_["loss"]
        self.n_iter_ = len(self.loss_curve_)
        if trained.restored is not None:
            self.best_epoch_ = len(before["loss"]) + trained.restored
        elif self.monitor in self.history_ and direction is not None:
            self.best_epoch_ = best_epoch(self.history_[self.monitor], direction)
        else:
            self.best_epoch_ = best_epoch(self.loss_curve_, "min")

    def _report_divergence(self, trained):
        if trained.diverged_epoch is None:
            return
        has_unit = hasattr(self, "normalize_y")
        text = divergence_text(
            trained.diverged_epoch,
            trained.is_finite,
            self._network.learning_rate,
            has_unit,
        )
        if not trained.is_finite:
            raise DivergenceError(text)
        warnings.warn(text, DivergenceWarning, stacklevel=4)


# Parameters that may make of a network what cannot be computed.
_COMPUTED = (
    *("activation", "output_activation", "normalization", "l1", "l2", "dtype"),
    *("loss", "loss_kwargs", "metrics", "compile_kwargs"),
)
