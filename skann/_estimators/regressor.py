"""MLPKerasRegressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from sklearn.base import RegressorMixin

from skann._data.classes import check_probabilities
from skann._data.rows import check_numeric
from skann._data.targets import RegressionTarget, columns_of
from skann._estimators.base import BaseMLPKeras, fits
from skann._estimators.keras_arguments import refuse
from skann._estimators.parameters import CONSTRAINTS
from skann._keras.names import is_keras_loss
from skann._network.arguments import is_own
from skann._network.problem import Problem
from skann._network.y_scale import learn_unit
from skann._runtime.private import StrOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from skann._types import (
        Activation,
        Arguments,
        BuildFunction,
        Callbacks,
        Float,
        Floats,
        Initializer,
        Int,
        LearningRate,
        Loss,
        Metric,
        Model,
        Optimizer,
        Path,
        RandomState,
        Rows,
        Schedule,
        Splitter,
    )


class MLPKerasRegressor(RegressorMixin, BaseMLPKeras):
    """A Keras network as a scikit-learn regressor.

    Takes targets of shape (n,), (n, 1) and (n, k), and predicts in the same shape.

    Parameters
    ----------
    model : callable or keras.Model, default=None
        Build function, which returns a Keras model, compiled or not. It is given by
        name what its signature asks for: parameters of this estimator, such as
        `n_hidden` or `learning_rate`; `input_shape`, `n_outputs` and `n_classes` of
        the data; and whatever stands in `model_kwargs`. A parameter that is not set
        leaves the function's own default alone. scikeras' ``meta``,
        ``compile_kwargs`` and ``params`` are understood. A ready model is copied by
        each fit, and training starts from its weights. None takes
        :func:`skann.models.build_mlp`.
    n_hidden : int, default=None
        Number of hidden layers. 0 gives a single layer: linear regression. None is
        the build function's own default; 2 for the built-in network.
    n_neurons : int, default=None
        Units of every hidden layer. More layers and units than needed, then early
        stopping, is a good guide. None is the build function's own default; 100 for
        the built-in network.
    hidden_layer_sizes : array-like of int, default=None
        Units of each hidden layer. When given, `n_hidden` and `n_neurons` are not
        used. None is `n_hidden` layers of `n_neurons`.
    activation : str, callable or list of these, default=None
        Keras activation of the hidden layers, or one for each of them. None is the
        build function's own default; "relu" for the built-in network.
    output_activation : str or callable, default=None
        Keras activation of the outputs. None is a build function's own default; for
        the built-in network it takes a linear output, under ``loss="poisson"``
        exponential, and under cross-entropies sigmoid or softmax. relu, softplus and
        exponential give positive predictions, sigmoid 0 to 1, tanh -1 to 1.
    kernel_initializer : str or keras.initializers.Initializer, default=None
        Initial weights. "auto" takes He's for relu and its relatives, LeCun's for
        selu and Glorot's otherwise. None is the build function's own default; "auto"
        for the built-in network.
    dropout : float in [0, 1), default=None
        Fraction of each hidden layer's units that is dropped in training. None is the
        build function's own default; 0 for the built-in network.
    normalization : {"batch", "layer"}, default=None
        Normalisation between each hidden layer and its activation. None is the build
        function's own default, which the built-in network takes as none.
    l1, l2 : float, default=None
        Penalties on the kernels (not biases) of all dense layers. None is the build
        function's own default; 0 for the built-in network.
    dtype : str, default=None
        Keras dtype policy: "float32", "float64", "mixed_bfloat16", ... "auto" takes
        "float64" for fits of fewer than 250 steps, where it costs nothing, and
        "float32" for all others. None is the build function's own default; "auto" for
        the built-in network.
    model_kwargs : dict, default=None
        Further arguments of the build function; ``model__name`` in ``set_params`` and
        in search grids.
    loss : str, callable or keras.losses.Loss, default=None
        Keras loss, by name, class, object or function. None is that of a
        build function which compiles its network; otherwise the mean squared error.
    loss_kwargs : dict, default=None
        Arguments of a loss given by name or class, such as ``{"delta": 0.5}``;
        ``loss__name`` in ``set_params`` and in search grids.
    metrics : list of str, callable or keras.metrics.Metric, default=None
        What each epoch reports besides the loss. None is what a build function that
        compiles its network chose; none for the built-in network.
    optimizer : str, class or keras.optimizers.Optimizer, default=None
        Keras optimizer. Of an object each fit takes a copy. None is that of a build
        function which compiles its network; "adam" otherwise.
    learning_rate : float, keras LearningRateSchedule or "auto", default=None
        Learning rate of an optimizer given by name or class. "auto" makes a range test
        before training, as :func:`skann.search.find_learning_rate` does, and sets the
        rate of any optimizer to what that suggests; see ``learning_rate_``. None is
        the build function's own default; 0.003 where skann makes the optimizer.
    learning_rate_schedule : str, default=None
        What the learning rate is multiplied by, step by step, over the planned epochs
        of each ``fit``; early stopping may end it earlier. "cosine" (Loshchilov &
        Hutter 2017) and "linear" fall from 1 to 0; "flat-cosine" stays at 1 for the
        first half; "one-cycle" (Smith & Topin 2018) rises from 1/25 over the first
        30 % of the steps, then falls to nothing; "coslog4" (Holzmüller et al. 2024)
        rises from 0 and falls to 0 four times, each time for twice as long. Afterwards
        the optimizer has the plain rate, at which ``partial_fit`` trains. None leaves
        the learning rate as it is.
    optimizer_kwargs : dict, default=None
        Further arguments of such an optimizer, such as ``{"clipnorm": 1.0}``;
        ``optimizer__name`` in ``set_params`` and in search grids. A learning rate in
        it takes the place of `learning_rate`, which must be None or the same.
    compile_kwargs : dict, default=None
        Further arguments of Keras' ``compile``, such as
        ``{"weighted_metrics": ["mae"]}`` or ``{"run_eagerly": True}``;
        ``compile__name`` in ``set_params`` and in search grids.
    epochs : int, default=100
        Passes over the training rows, at most.
    batch_size : int, default=32
        Rows of a gradient step. The last batch of an epoch may be smaller.
    shuffle : bool, default=True
        Whether each epoch takes the training rows in a new order.
    validation_fraction : float in (0, 1), "auto" or None, default="auto"
        Share of the rows held out as a validation set. "auto" holds out 0.1 where no
        validation set is given to ``fit`` and something needs one: early stopping, a
        checkpoint or a Keras callback that monitors a ``val_`` name, or `validation`.
        A number is held out also where nothing needs it, for ``val_loss``. None holds
        out none. It must be "auto" beside a splitter in `validation`, and is unused
        where ``fit`` is given a validation set.
    validation : {"auto", "random", "last"} or splitter, default="auto"
        Which rows are held out. "random" draws them by `random_state`, and whole
        groups where ``fit`` is given `groups`; "last" takes the last ones, for rows in
        order of time; a splitter of scikit-learn's, such as
        ``TimeSeriesSplit(gap=10)``, those of its last split. "auto" takes "random", or
        "last" where ``shuffle=False``.
    early_stopping : bool or "auto", default="auto"
        Whether to stop when `monitor` has not improved for `patience` epochs. "auto"
        does so from 1000 training rows on or with a validation set of the user's own,
        unless `callbacks` hold a Keras EarlyStopping or ``validation_fraction=None``
        leaves no rows to monitor.
    patience : int, default=10
        Epochs without improvement after which training stops.
    min_delta : float, default=0.0
        Least change of `monitor` that counts as an improvement.
    monitor : str, default="val_loss"
        What early stopping and checkpoints watch: a name in ``history_``.
    monitor_mode : {"auto", "min", "max"}, default="auto"
        Whether `monitor` is better when it falls or when it rises. "auto" asks Keras:
        losses fall, and its metrics know, whatever they are called. A function or a
        metric class of your own needs one of the others.
    restore_best_weights : bool, default=True
        Whether early stopping puts the weights of the best epoch back.
    checkpoint_path : str or path-like, default=None
        File for the best model so far, written at epoch ends; its ending chooses the
        format: ``.keras``, ``.h5`` or ``.weights.h5``. Clones of the estimator, as a
        search makes them, write to a new directory beside it: see
        ``checkpoint_path_``. None writes none.
    checkpoint_save_best_only : bool, default=True
        Whether only an epoch better than all before is written.
    tensorboard_dir : str or path-like, default=None
        Root directory of TensorBoard logs; each fit makes a run of its own in it. None
        writes none.
    callbacks : list of keras.callbacks.Callback, default=None
        Further Keras callbacks. Each fit runs on copies of them.
    normalize_X : bool or "auto", default=False
        Whether the first layers of the network bring each column of X to a common
        range: centred at the training rows' median, divided by the distance of their
        quartiles, then 3 tanh(z / 3), so that far-out values stay between -3 and 3.
        What is learned of the rows is part of ``model_`` and of its files. "auto" does
        so for the built-in network of at least one hidden layer on a table, and leaves
        build functions and ready models as they are. True does so for any
        ``keras.Sequential`` on a table.
    normalize_y : bool or "auto", default="auto"
        Whether the network learns ``(y - mean) / standard deviation`` of the training
        rows' y, which its last layer brings back to y: losses, metrics, their
        parameters (such as Huber's ``delta``), ``min_delta`` and ``model_`` are in y's
        own unit. "auto" does so for the built-in network where loss and output allow
        it, and leaves build functions and ready models as they are. A linear output
        under the squared, absolute, Huber and log-cosh losses allows it, and so does a
        loss of your own that grows as a power of y's unit; a positive output is only
        scaled. True does so for any network, and is an error where it cannot be.
    engine : {"auto", "compiled", "keras"}, default="auto"
        How to train. "compiled" runs Keras' train step in one compiled loop, or does
        its arithmetic in NumPy where there is little; "keras" is
        ``keras.Model.fit``; "auto" takes the first where it can. Both do the same
        steps on the same rows.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the fitted weights and optimizer state.
    random_state : int, RandomState instance or None, default=None
        Decides initial weights, validation split, order of the rows and dropout. No
        global generator is read or moved; None takes seeds from the operating system.
    verbose : int, default=0
        0 prints nothing, 1 a bar and 2 a line for each epoch, as Keras does.

    Attributes
    ----------
    model_ : keras.Model
        The trained model. Where a small fit did without, it is made when first asked
        for.
    history_ : dict of list of float
        Loss and metrics of each epoch, those of the validation set with the prefix
        ``val_``, in y's own unit (squared, for squared errors).
    n_iter_ : int
        Number of epochs run.
    best_epoch_ : int
        Position in the lists of ``history_`` of the epoch that early stopping restored,
        or else with the best `monitor` (the best loss, where that is not reported).
    loss_curve_ : list of float
        Training loss of each epoch.
    learning_rate_ : float
        Learning rate that training began with, where ``learning_rate="auto"``.
    n_outputs_ : int
        Number of outputs, the columns of y.
    n_features_in_ : int
        Number of features, the second dimension of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had string names for all.
    engine_ : {"numpy", "graph", "compiled", "keras"}
        How the last fit was trained: in NumPy, by Keras' train step in a loop that ran
        as a graph or was compiled, or by ``keras.Model.fit``.
    checkpoint_path_ : str
        File that the checkpoint was written to, where there is one.
    tensorboard_dir_ : str
        Directory of this fit's TensorBoard logs, where there are any.
    callbacks_ : list of keras.callbacks.Callback
        The copies of `callbacks` on which the last fit ran, those given to ``fit``
        behind them, where there are any. A pickle does not hold them.

    See Also
    --------
    MLPKerasClassifier : The classifier.
    sklearn.neural_network.MLPRegressor : scikit-learn's own, with fewer features.

    Notes
    -----
    Defaults were chosen by their test scores on twelve tables; ``docs/design.md`` has
    the figures.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skann import MLPKerasRegressor
    >>> X, y = make_friedman1(1000, random_state=0)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> model = make_pipeline(
    ...     StandardScaler(), MLPKerasRegressor(epochs=30, random_state=0)
    ... )
    >>> bool(model.fit(X, y).score(X_test, y_test) > 0.8)
    True
    """

    _y_numeric = True
    _parameter_constraints = {
        **CONSTRAINTS,
        "normalize_y": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        model: BuildFunction | Model | None = None,
        *,
        n_hidden: Int | None = None,
        n_neurons: Int | None = None,
        hidden_layer_sizes: ArrayLike | None = None,
        activation: Activation | Sequence[Activation] | None = None,
        output_activation: Activation | None = None,
        kernel_initializer: Initializer | None = None,
        dropout: Float | None = None,
        normalization: Literal["batch", "layer"] | None = None,
        l1: Float | None = None,
        l2: Float | None = None,
        dtype: str | None = None,
        model_kwargs: Arguments | None = None,
        loss: Loss | None = None,
        loss_kwargs: Arguments | None = None,
        metrics: Metric | Sequence[Metric] | None = None,
        optimizer: Optimizer | None = None,
        learning_rate: LearningRate | None = None,
        learning_rate_schedule: Schedule | None = None,
        optimizer_kwargs: Arguments | None = None,
        compile_kwargs: Arguments | None = None,
        epochs: Int = 100,
        batch_size: Int = 32,
        shuffle: bool = True,
        validation_fraction: Float | Literal["auto"] | None = "auto",
        validation: Literal["auto", "random", "last"] | Splitter = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        patience: Int = 10,
        min_delta: Float = 0.0,
        monitor: str = "val_loss",
        monitor_mode: Literal["auto", "min", "max"] = "auto",
        restore_best_weights: bool = True,
        checkpoint_path: Path | None = None,
        checkpoint_save_best_only: bool = True,
        tensorboard_dir: Path | None = None,
        callbacks: Callbacks | None = None,
        normalize_X: bool | Literal["auto"] = False,
        normalize_y: bool | Literal["auto"] = "auto",
        engine: Literal["auto", "compiled", "keras"] = "auto",
        warm_start: bool = False,
        random_state: RandomState | None = None,
        verbose: Int = 0,
    ) -> None:
        self.model = model
        self.n_hidden = n_hidden
        self.n_neurons = n_neurons
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.kernel_initializer = kernel_initializer
        self.dropout = dropout
        self.normalization = normalization
        self.l1 = l1
        self.l2 = l2
        self.dtype = dtype
        self.model_kwargs = model_kwargs
        self.loss = loss
        self.loss_kwargs = loss_kwargs
        self.metrics = metrics
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.optimizer_kwargs = optimizer_kwargs
        self.compile_kwargs = compile_kwargs
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.validation = validation
        self.early_stopping = early_stopping
        self.patience = patience
        self.min_delta = min_delta
        self.monitor = monitor
        self.monitor_mode = monitor_mode
        self.restore_best_weights = restore_best_weights
        self.checkpoint_path = checkpoint_path
        self.checkpoint_save_best_only = checkpoint_save_best_only
        self.tensorboard_dir = tensorboard_dir
        self.callbacks = callbacks
        self.normalize_X = normalize_X
        self.normalize_y = normalize_y
        self.engine = engine
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @fits
    def partial_fit(
        self, X: Rows, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch more, or for the first one.

        Early stopping, held-out rows, checkpoints and TensorBoard belong to ``fit``;
        the unit of a normalised y is that of the first call.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or more
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Rows, **others: Any) -> Floats:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or more
            Rows of the shape that was fitted.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), dtype=float64
            As y was in ``fit``; a column for each output of a network that gives
            several for a single y.
        """
        if others:
            refuse(self, "predict", others)
        outputs = self._outputs(X)
        return self._target.decode(outputs)

    def _validated_target(self, y, reset, classes):
        check_numeric(y, "y")
        y = y.astype("float64", copy=False)
        if reset:
            self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        elif (1 if y.ndim == 1 else y.shape[1]) != self.n_outputs_:
            raise ValueError(
                f"y has shape {y.shape}, but {type(self).__name__} was fitted with "
                f"{self.n_outputs_} outputs."
            )
        return y

    def _problem(self):
        return Problem(self._row_shape, "regression", self.n_outputs_)

    def _learn_target(self, head, data):
        # What a loss of the user's own takes, its name does not say.
        if is_keras_loss(head.compiled_loss) and not head.from_logits:
            check_probabilities(head.loss, head.output_activation)
        unit = self._learn_unit(head, data) if self.normalize_y else None
        return RegressionTarget(data.y.ndim, unit)

    def _learn_unit(self, head, data):
        """Return the unit of y, or None where y is left as it is."""
        asked = self.normalize_y is True
        if not asked and not is_own(self.model):
            return None
        unit, reason = learn_unit(
            columns_of(data.y),
            data.sample_weight,
            head.compiled_loss,
            head.output_activation,
            head.n_units,
        )
        if asked and unit is None:
            raise ValueError(
                f"normalize_y=True cannot be used here, for {reason}: such outputs are "
                "y as it is. Use normalize_y='auto' or normalize_y=False."
            )
        if unit is None and self.verbose:
            print(f"skann: y is not normalised, for {reason}.")
        return unit

    def _labels(self, y):
        return None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
