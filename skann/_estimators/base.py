"""BaseMLPKeras: what scikit-learn asks of an estimator, once for both of them."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, Self, TypeVar

from scipy import sparse
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skann._data.input import checked
from skann._data.input_scale import learn_input_scale
from skann._data.rows import Data, check_numeric, needs_no_check
from skann._data.validation import HoldOut, check_groups, own_validation_set
from skann._estimators.fitted import HoldsNetwork
from skann._estimators.keras_arguments import refuse
from skann._estimators.parameters import (
    CONSTRAINTS,
    PartParameters,
    check_argument_of_fit,
    check_network_parameters,
)
from skann._estimators.tasks import FitTask
from skann._estimators.training import Run, TrainsNetwork
from skann._network.arguments import BUILT_IN, FIXED_BY_BUILDING, NUMBERS, is_own
from skann._network.in_arrays import network_in_arrays
from skann._network.network import Network
from skann._network.numbers import plain
from skann._network.precision import takes_float64
from skann._network.same import same, snapshot
from skann._network.size import check_size
from skann._network.sources import recipe_of
from skann._runtime.private import fit_context
from skann._runtime.seeds import Seeds
from skann._runtime.start import is_of_keras, keras_setting, with_keras
from skann._training.monitor import monitors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skann._types import Callbacks, Int, Rows, ValidationData

Method = TypeVar("Method", bound=Callable[..., Any])

# From this many rows, early_stopping="auto" stops early.
_ROWS_FOR_EARLY_STOPPING = 1000

# Below this many steps, dtype="auto" is float64.
_STEPS_OF_FULL_PRECISION = 250


def fits(method: Method) -> Method:
    """Decorate a method that fits as scikit-learn does, and keep its signature."""
    return fit_context(prefer_skip_nested_validation=True)(method)


class BaseMLPKeras(CallbackSupportMixin, TrainsNetwork, HoldsNetwork, PartParameters):
    """Base of the two estimators, which are final classes."""

    n_outputs_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    _parameter_constraints = CONSTRAINTS

    @fits
    def fit(
        self,
        X: Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Rows | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        validation_data: ValidationData | None = None,
        groups: ArrayLike | None = None,
        callbacks: Callbacks | None = None,
        epochs: Int | None = None,
        batch_size: Int | None = None,
        verbose: Int | None = None,
        **others: Any,
    ) -> Self:
        """Fit the network to data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or more
            Rows of any numeric type. Of more than two dimensions where the network
            takes them; the default one flattens. Sparse and memory-mapped data is
            never copied as a whole.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, or labels of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. Their average is brought to 1; rows of weight 0 are
            left out.
        X_val, y_val : array-like, default=None
            Validation set. Without it, rows are held out where early stopping or a
            monitor needs a validation set, or where `validation_fraction` or
            `validation` asks for one.
        sample_weight_val : array-like, default=None
            Weights of the validation rows.
        validation_data : tuple of (X, y) or (X, y, sample_weight), default=None
            Keras' spelling of the three above.
        groups : array-like of shape (n_samples,), default=None
            What each row belongs to, such as a patient or the row that it is a copy
            of. Where rows are held out, those of a group are held out together.
        callbacks : list of keras.callbacks.Callback, default=None
            Further Keras callbacks for this fit. Each fit runs on copies.
        epochs, batch_size, verbose : int, default=None
            For this fit, instead of the parameters of the same names.
        **others
            None are taken: an argument of Keras' ``fit`` that has another name here
            is an error, which says the name.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad parameters and bad data, before any training.
        DivergenceError
            If the training loss became NaN or infinite in the first epoch.
        """
        if others:
            refuse(self, "fit", others)
        own = own_validation_set(X_val, y_val, sample_weight_val, validation_data)
        run = self._run(epochs, batch_size, verbose, callbacks)
        task = FitTask(self, X, y, sample_weight, run.epochs)
        run.callbacks += task.keras_callbacks()
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        with self._as_it_was_on_failure(goes_on), task.running():
            data = self._validated_data(X, y, sample_weight, reset=not goes_on)
            if goes_on:
                self._follow_parameters()
            else:
                self._seeds = Seeds.draw(self.random_state)
            run.stops_early = self._stops_early(data, own, run)
            data = self._with_validation(data, own, run, groups)
            if not goes_on:
                self._build(data, run)
            self._train(data, run, goes_on)
        return self

    @fits
    def initialize(self, X: Rows, y: ArrayLike) -> Self:
        """Build the network for data, without training it.

        A ready model that was trained before predicts then, with the weights that it
        came with. ``partial_fit``, and ``fit`` with ``warm_start=True``, train it from
        there.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or more
            Rows as ``fit`` would get them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets: of a classifier, all classes must be there.

        Returns
        -------
        self
        """
        with self._as_it_was_on_failure(goes_on=False):
            data = self._validated_data(X, y, None, reset=True)
            self._seeds = Seeds.draw(self.random_state)
            self._build(data)
            feed = self._feed(data)
            self._network.know_rows(feed)
            self._prepare(self._network.model, feed)
            self.history_, self.n_iter_ = {"loss": []}, 0
            self.loss_curve_ = self.history_["loss"]
        return self

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """Train for one epoch more, from the first call on."""
        goes_on = self.__sklearn_is_fitted__()
        run = self._run(1, None, None, None)
        run.is_partial = True
        with self._as_it_was_on_failure(goes_on):
            data = self._validated_data(
                X, y, sample_weight, reset=not goes_on, classes=classes
            )
            if goes_on:
                self._follow_parameters()
            else:
                self._seeds = Seeds.draw(self.random_state)
                self._build(data, run)
            self._train(data, run, goes_on)
        return self

    @abstractmethod
    def _validated_target(self, y, reset, classes):
        """Return y checked, and set what is learned of it when `reset`."""

    def _is_told_more(self, head, data):
        """Learn of the network what y's columns are; return whether that is new."""
        return False

    @abstractmethod
    def _learn_target(self, head, data):
        """Return the target's encoding for a network's head and the training rows."""

    @abstractmethod
    def _labels(self, y):
        """Return the classes by which a validation set is stratified, or None."""

    def _run(self, epochs, batch_size, verbose, callbacks):
        """Merge a fit's arguments with the parameters."""
        given = {"epochs": epochs, "batch_size": batch_size, "verbose": verbose}
        merged = {k: getattr(self, k) if v is None else v for k, v in given.items()}
        for name, value in merged.items():
            check_argument_of_fit(name, value)
        merged = {name: int(value) for name, value in merged.items()}
        copies = []
        for some in (self.callbacks, callbacks):
            if some is not None and some not in ([], ()):
                copies += with_keras().callback_copies.fresh_copies(some)
        return Run(**merged, callbacks=copies, own_copies=copies[:])

    def _validated_data(self, X, y, sample_weight, reset, classes=None):
        check_network_parameters(self.get_params(deep=False))
        if sparse.issparse(y):
            raise ValueError("y must be dense, and is sparse: give y.toarray().")
        X, y = self._arrays_of(X, y, reset)
        X = self._validated_rows(X, reset)
        y = self._validated_target(y, reset, classes)
        return Data.weighted(X, y, sample_weight)

    def _arrays_of(self, X, y, reset):
        """Return X and y as scikit-learn checks them."""
        X, y = checked(X, "X"), checked(y, "y", are_labels=not self._y_numeric)
        numeric = {"multi_output": True, "y_numeric": self._y_numeric}
        return validate_data(self, X, y, reset=reset, **numeric, **_ACCEPTED)

    def _validated_rows(self, X, reset=False):
        """Bring sparse X to rows, and compare a row's shape with the fitted one."""
        check_numeric(X, "X")
        if sparse.issparse(X):
            X = X.tocsr()
        if reset:
            self._row_shape = X.shape[1:]
        elif X.shape[1:] != self._row_shape:
            raise ValueError(
                f"X has rows of shape {X.shape[1:]}, but {type(self).__name__} was "
                f"fitted with rows of shape {self._row_shape}."
            )
        return X

    def _with_validation(self, data, own, run, groups):
        """Return the data with the user's validation set or one held out, if needed."""
        plan = HoldOut(self.validation, self.validation_fraction, not self.shuffle)
        if groups is not None:
            groups = check_groups(groups, data.X.shape[0])[data.rows]
        if own is not None:
            data.validation = self._validation_of_user(*own)
            return data
        names = [self.monitor] if run.stops_early else []
        names += [self.monitor] if self._compares_checkpoints() else []
        names += monitors(run.callbacks)
        needed = any(name.startswith("val_") for name in names)
        if self.validation_fraction is None or not (needed or plan.is_asked_for):
            return data
        labels = self._labels(data.y)
        training, held_out = plan.split(data, labels, groups, self._seeds.split)
        part = data.part(training)
        part.validation = data.part(held_out)
        return part

    def _validation_of_user(self, X_val, y_val, sample_weight_val):
        try:
            X, y = self._arrays_of(X_val, y_val, reset=False)
            X, y = self._validated_rows(X), self._validated_target(y, False, None)
            return Data.weighted(X, y, sample_weight_val)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"In the validation set (X_val, y_val): {error}") from error

    def _stops_early(self, data, own, run):
        if self.early_stopping != "auto":
            return self.early_stopping
        if any(is_of_keras(c, "callbacks.EarlyStopping") for c in run.callbacks):
            return False
        if own is not None:
            return True
        needs_rows = self.monitor.startswith("val_")
        can = self.validation_fraction is not None or not needs_rows
        return can and len(data.rows) >= _ROWS_FOR_EARLY_STOPPING

    def _needs_model(self, run):
        """Whether a fit needs its Keras model while it trains."""
        paths = (self.checkpoint_path, self.tensorboard_dir)
        files = any(path is not None for path in paths)
        return bool(run.callbacks or run.verbose or files or self.engine == "keras")

    def _build(self, data, run=None):
        """Build the network: in arrays for a run that needs no more."""
        parameters = inspect.signature(type(self)).parameters.values()
        defaults = {p.name: p.default for p in parameters}
        defaults |= {**BUILT_IN, "dtype": self._dtype(data)}
        params = self.get_params(deep=False)
        self._built_with = self._fixed(params, defaults)
        params |= {name: plain(params[name]) for name in NUMBERS}
        params |= {} if run is None else run.arguments
        problem, seed = self._problem(), self._seeds.weights
        check_size(params, defaults, problem)
        source = network = self._recipe = None
        if is_own(self.model):
            source = recipe_of(params, defaults, problem, seed)
        if source is not None and run is not None and not self._needs_model(run):
            network = network_in_arrays(source, n_steps=_n_steps(data, run))
        if network is None:
            network = self._model_built(params, defaults, problem, seed, source)
        self._network = network
        head = self._network.head(self._row_shape)
        if self._is_told_more(head, data):
            self._build(data, run)  # What y is decides on loss and shapes.
            return
        self._target = self._learn_target(head, data)
        units = self._learn_input_scale(data, run), self._target.unit
        if units != (None, None):
            self._network.take_units(*units)
            if self._recipe is not None:
                self._recipe = (*self._recipe, *units[::-1])
        for name in _OF_A_FIT:
            self.__dict__.pop(name, None)

    def _learn_input_scale(self, data, run):
        """Return how X is brought to a common range, or None where it is left."""
        if not self.normalize_X:
            return None
        is_table = len(self._row_shape) == 1
        if keras_setting("image_data_format") == "channels_first":
            if self.normalize_X is True:
                raise ValueError(
                    "normalize_X=True cannot be used where Keras is set to "
                    "'channels_first': it rescales images then, not columns."
                )
            return None
        if self.normalize_X is True and not is_table:
            raise ValueError(
                "normalize_X=True is for tables, and X has rows of shape "
                f"{self._row_shape}. Use normalize_X='auto' or normalize_X=False."
            )
        own = is_own(self.model) and is_table and self._network.has_hidden_layers()
        if self.normalize_X == "auto" and not own:
            return None
        more_will_come = run is not None and run.is_partial
        return learn_input_scale(
            data.X, data.rows, data.sample_weight, are_all=not more_will_come
        )

    def _model_built(self, params, defaults, problem, seed, source):
        """Return the network that a build function's Keras model is."""
        if params["learning_rate"] == "auto":
            params["learning_rate"] = None  # For now.
        parts = with_keras()
        model = parts.build_model(params, defaults, problem, seed)
        keras = parts.KerasNetwork(model, is_lent=not is_own(self.model))
        is_ready = is_of_keras(self.model, "Model")
        if source is None and not (is_ready and parts.is_serialisable(model)):
            self._recipe = (params, defaults, problem, seed)
            self._recipe_makes = parts.outline(model)
        return Network(keras=keras, source=source)

    def _fixed(self, params, defaults):
        """Return the parameters that a fit which goes on cannot change."""
        fixed = {n: snapshot(params[n]) for n in FIXED_BY_BUILDING if n in params}
        unset = (None, "auto") if is_own(self.model) else ("auto",)
        if fixed["dtype"] in unset:
            fixed["dtype"] = defaults["dtype"]
        return fixed

    def _follow_parameters(self):
        """Let a new learning rate take effect; raise for what the network has fixed."""
        for name, value in self._built_with.items():
            new, value = plain(getattr(self, name)), plain(value)
            if name == "dtype" and new in (None, "auto"):
                continue
            if is_own(self.model):  # What is not set is as in the built-in network.
                new, value = (
                    BUILT_IN.get(name) if v is None else v for v in (new, value)
                )
            if same(new, value):
                continue
            if name != "learning_rate" or not isinstance(new, Real):
                raise ValueError(
                    f"{name}={new!r} would have no effect: training goes on with the "
                    f"network that was built with {name}={value!r}."
                )
            self._network.learning_rate = new
            self.__dict__.pop("learning_rate_", None)
            self._built_with = {**self._built_with, name: new}

    def _dtype(self, data):
        # Where there is little to do, overhead is all, and full precision is free.
        few = _n_steps(data, self) < _STEPS_OF_FULL_PRECISION
        return "float64" if few and takes_float64(self.optimizer) else "float32"

    def _outputs(self, X):
        """Return the network's outputs, of shape (n_samples, n_units), float64."""
        known = vars(self)
        is_known = "_network" in known and "feature_names_in_" not in known
        row_shape = known.get("_row_shape")
        if not is_known or not needs_no_check(X, row_shape, self._network.largest):
            check_is_fitted(self)
            X = validate_data(self, checked(X, "X"), reset=False, **_ACCEPTED)
            X = self._validated_rows(X)
            self._network.check(X)
        return self._network.outputs(X)

    def __sklearn_clone__(self):
        clone = super().__sklearn_clone__()
        if self.checkpoint_path is not None:
            # Searches fit clones: each writes its checkpoint to a directory of its own.
            clone._is_clone = True
        return clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags


def _n_steps(data, plan):
    """Return the steps planned by a run, or by an estimator's parameters."""
    return int(plan.epochs) * -(-len(data.rows) // int(plan.batch_size))


# Attributes that are set while a fit runs, or at its end.
_OF_A_FIT = (
    *("history_", "loss_curve_", "n_iter_", "best_epoch_", "engine_"),
    *("checkpoint_path_", "tensorboard_dir_", "learning_rate_", "callbacks_"),
)

_ACCEPTED = {"accept_sparse": ("csr", "csc"), "allow_nd": True, "dtype": "numeric"}
