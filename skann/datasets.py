"""Data to learn and test with: California Housing, shipped, and Fashion-MNIST."""

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

__all__ = [
    "FASHION_MNIST_CLASSES",
    "load_california_housing",
    "load_fashion_mnist",
]

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Names of the classes of Fashion-MNIST; label 0 is the first."""

_FASHION_MNIST_SHAPES = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}

_Bytes = NDArray[np.uint8]


@overload
def load_california_housing(
    *, return_X_y: Literal[True], as_frame: Literal[False] = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
@overload
def load_california_housing(
    *, return_X_y: bool = False, as_frame: bool = False
) -> Any: ...
def load_california_housing(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the California Housing data (regression), which come with skann.

    The 20640 rows are the block groups of the 1990 census, each with 8 features;
    the target is the median house value in hundreds of thousands of dollars. The
    values and their order are those of
    :func:`sklearn.datasets.fetch_california_housing`; nothing is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    as_frame : bool, default=False
        If True, the data is a pandas DataFrame and the target a pandas Series.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        Only where ``return_X_y`` is False. Its attributes:

        data : ndarray of shape (20640, 8), dtype=float64
            One row for each block group. A DataFrame if ``as_frame`` is True.
        target : ndarray of shape (20640,), dtype=float64
            Median house value in units of $100,000. A Series if ``as_frame`` is
            True.
        frame : DataFrame of shape (20640, 9)
            ``data`` and ``target`` together; None if ``as_frame`` is False.
        feature_names : list of str
            The names of the 8 features.
        target_names : list of str
            The name of the target, ``["MedHouseVal"]``.
        DESCR : str
            What the data are and where they come from.

    (data, target) : tuple of (ndarray, ndarray) or (DataFrame, Series)
        Only where ``return_X_y`` is True.

    Raises
    ------
    ImportError
        If ``as_frame`` is True and pandas is not installed.

    References
    ----------
    R. K. Pace and R. Barry, "Sparse spatial autoregressions", Statistics &
    Probability Letters 33 (1997), 291-297. The data are StatLib's,
    https://lib.stat.cmu.edu/datasets/houses.zip.

    Examples
    --------
    >>> from skann.datasets import load_california_housing
    >>> X, y = load_california_housing(return_X_y=True)
    >>> X.shape, y.shape
    ((20640, 8), (20640,))
    >>> load_california_housing().feature_names[:3]
    ['MedInc', 'HouseAge', 'AveRooms']
    """
    names, values = _read_california_housing()
    frame, data, target = None, values[:, :-1].copy(), values[:, -1].copy()
    if as_frame:
        frame = _to_frame(values, names)
        data, target = frame[names[:-1]], frame[names[-1]]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=names[:-1],
        target_names=names[-1:],
        DESCR=_shipped("california_housing.rst").decode("ascii"),
    )


def load_fashion_mnist(
    *, data_home: str | os.PathLike[str] | None = None
) -> tuple[tuple[_Bytes, _Bytes], tuple[_Bytes, _Bytes]]:
    """Load Fashion-MNIST (classification), from this machine or by Keras' download.

    The images of 28 x 28 grey values show clothes of 10 classes, whose names are in
    :data:`~skann.datasets.FASHION_MNIST_CLASSES`. The first place which holds all
    four files, packed (``.gz``) or not, is read:

    1. ``data_home``,
    2. the directory named by the environment variable ``SKANN_DATA_HOME``,
    3. Keras' cache, ``$KERAS_HOME/datasets/fashion-mnist``, where ``KERAS_HOME`` is
       ``~/.keras`` unless set,
    4. ``/usr/share/datasets/fashion-mnist``, where Debian's package
       ``dataset-fashion-mnist`` puts it.

    Where it is in none of them, Keras downloads it (30 MB) into its cache.

    Parameters
    ----------
    data_home : str or path-like, default=None
        A directory which holds the four files, or holds a directory
        ``fashion_mnist`` or ``fashion-mnist`` with them. The same goes for
        ``SKANN_DATA_HOME``.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of two tuples of ndarray
        What ``keras.datasets.fashion_mnist.load_data()`` returns:

        X_train : ndarray of shape (60000, 28, 28), dtype=uint8
            Grey values from 0 to 255.
        y_train : ndarray of shape (60000,), dtype=uint8
            Labels from 0 to 9.
        X_test : ndarray of shape (10000, 28, 28), dtype=uint8
            Grey values from 0 to 255.
        y_test : ndarray of shape (10000,), dtype=uint8
            Labels from 0 to 9.

    Raises
    ------
    FileNotFoundError
        If the data are in none of the places and could not be downloaded.

    ValueError
        If a file is damaged, cut off or not the one that its name says.

    References
    ----------
    H. Xiao, K. Rasul and R. Vollgraf (Zalando Research), "Fashion-MNIST: a novel
    image dataset for benchmarking machine learning algorithms", 2017,
    https://arxiv.org/abs/1708.07747. The data are under the MIT licence.

    Examples
    --------
    >>> from skann.datasets import FASHION_MNIST_CLASSES, load_fashion_mnist
    >>> (X_train, y_train), (X_test, y_test) = load_fashion_mnist()  # doctest: +SKIP
    >>> X_train.shape  # doctest: +SKIP
    (60000, 28, 28)
    >>> FASHION_MNIST_CLASSES[y_train[0]]  # doctest: +SKIP
    'Ankle boot'
    """
    found = _find_fashion_mnist(data_home)
    if found is None:
        return _download_fashion_mnist(data_home)
    X_train, y_train, X_test, y_test = (
        _read_idx(_stored(found, name), shape)
        for name, shape in _FASHION_MNIST_SHAPES.items()
    )
    return (X_train, y_train), (X_test, y_test)


def _shipped(name: str) -> bytes:
    """Return the content of a data file which comes with the package."""
    return (files("skann") / "data" / name).read_bytes()


def _read_california_housing() -> tuple[list[str], NDArray[np.float64]]:
    text = gzip.decompress(_shipped("california_housing.csv.gz")).decode("ascii")
    header, *rows = text.splitlines()
    return header.split(","), np.loadtxt(rows, delimiter=",")


def _to_frame(values: NDArray[np.float64], names: list[str]) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "load_california_housing(as_frame=True) needs pandas: pip install pandas"
        ) from error
    return pd.DataFrame(values, columns=names)


def _fashion_mnist_places(
    data_home: str | os.PathLike[str] | None,
) -> Iterator[Path]:
    """Yield the directories to look in, first to last."""
    for home in (data_home, os.environ.get("SKANN_DATA_HOME")):
        if home:
            path = Path(home).expanduser()
            yield from (path, path / "fashion_mnist", path / "fashion-mnist")
    keras_home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    yield keras_home / "datasets" / "fashion-mnist"
    yield Path("/usr/share/datasets/fashion-mnist")


def _find_fashion_mnist(
    data_home: str | os.PathLike[str] | None = None,
) -> Path | None:
    """Return the first directory with all four files, None if there is none."""
    for place in _fashion_mnist_places(data_home):
        paths = (_stored(place, name) for name in _FASHION_MNIST_SHAPES)
        if all(os.access(path, os.R_OK) for path in paths):
            return place
    return None


def _stored(place: Path, name: str) -> Path:
    """Return the path of a file as it is stored there: unpacked or packed."""
    unpacked = place / name
    return unpacked if os.access(unpacked, os.R_OK) else place / f"{name}.gz"


def _download_fashion_mnist(data_home: str | os.PathLike[str] | None) -> Any:
    from keras.datasets import fashion_mnist

    try:
        return fashion_mnist.load_data()
    except Exception as error:  # Keras raises no narrower one for a failed download
        raise FileNotFoundError(
            f"{_not_found_message(data_home)}\nKeras could not download it: {error}"
        ) from error


def _not_found_message(data_home: str | os.PathLike[str] | None = None) -> str:
    places = "\n".join(f"  {place}" for place in _fashion_mnist_places(data_home))
    return (
        f"Fashion-MNIST is in none of\n{places}\n"
        "Install Debian's package dataset-fashion-mnist, or put the four files "
        "*-ubyte.gz of https://github.com/zalandoresearch/fashion-mnist into a "
        "directory and name that directory in the environment variable "
        "SKANN_DATA_HOME."
    )


def _read_idx(path: Path, shape: tuple[int, ...]) -> _Bytes:
    """Read an idx file, which must hold unsigned bytes in that shape."""
    content = _unpacked(path)
    magic = bytes((0, 0, 0x08, len(shape)))  # 0x08 is idx' code of unsigned bytes
    header = magic + struct.pack(f">{len(shape)}I", *shape)
    size = len(header) + prod(shape)
    if not content.startswith(magic):
        fault = f"does not start with {magic!r}, idx' mark of such a file"
    elif not content.startswith(header):
        fault = f"holds an array of another shape than {shape}"
    elif len(content) != size:
        fault = f"has {len(content)} bytes where {size} are due"
    else:
        return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
    raise ValueError(f"{path} is no file of Fashion-MNIST, or is damaged: it {fault}.")


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or was not downloaded to its end: {error}. "
            "Remove it, or put a whole one in its place."
        ) from error
