import gzip
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skann import datasets
from skann.datasets import (
    FASHION_MNIST_CLASSES,
    load_california_housing,
    load_fashion_mnist,
)


def idx(values):
    """Return an array of uint8 as the bytes of an idx file."""
    shape = np.array(values.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, values.ndim)) + shape + values.tobytes()


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No Fashion-MNIST on this machine, and no network."""

    def load_data():
        raise Exception("URL fetch failure")

    places = datasets._fashion_mnist_places
    monkeypatch.setattr(
        datasets,
        "_fashion_mnist_places",
        lambda data_home: (
            place for place in places(data_home) if place.is_relative_to(tmp_path)
        ),
    )
    monkeypatch.setattr("keras.datasets.fashion_mnist.load_data", load_data)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("SKANN_DATA_HOME", raising=False)


@pytest.fixture
def small(monkeypatch):
    """Arrays which stand for Fashion-MNIST, by the names of their files."""
    shapes = {
        "train-images-idx3-ubyte": (20, 28, 28),
        "train-labels-idx1-ubyte": (20,),
        "t10k-images-idx3-ubyte": (10, 28, 28),
        "t10k-labels-idx1-ubyte": (10,),
    }
    # The true ones have as many times the rows.
    for name, (n_rows, *shape) in datasets._FASHION_MNIST_SHAPES.items():
        times = 3000 if name.startswith("train") else 1000
        assert shapes[name] == (n_rows // times, *shape)
    monkeypatch.setattr(datasets, "_FASHION_MNIST_SHAPES", shapes)
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 10, shape, dtype=np.uint8)
        for name, shape in shapes.items()
    }


def store(arrays, place, packed=True):
    place.mkdir(parents=True)
    for name, values in arrays.items():
        if packed:
            (place / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
        else:
            (place / name).write_bytes(idx(values))


def assert_loaded(loaded, arrays):
    (X_train, y_train), (X_test, y_test) = loaded
    for got, expected in zip(
        (X_train, y_train, X_test, y_test), arrays.values(), strict=True
    ):
        assert got.dtype == np.uint8
        assert_array_equal(got, expected)


def test_california_housing_is_a_bunch_of_float64():
    bunch = load_california_housing()
    assert bunch.data.shape == (20640, 8)
    assert bunch.target.shape == (20640,)
    assert bunch.data.dtype == bunch.target.dtype == np.float64
    assert bunch.data.flags.c_contiguous
    assert bunch.data.flags.writeable
    assert bunch.frame is None
    assert bunch.feature_names[0] == "MedInc"
    assert bunch.feature_names[-1] == "Longitude"
    assert bunch.target_names == ["MedHouseVal"]
    assert "Pace" in bunch.DESCR


def test_california_housing_has_the_values_of_the_census():
    X, y = load_california_housing(return_X_y=True)
    first = [8.3252, 41.0, 6.984126984126984, 1.0238095238095237, 322.0]
    assert_array_equal(X[0, :5], first)
    assert_array_equal(X[0, -2:], [37.88, -122.23])
    assert y[0] == 4.526
    assert y.mean() == pytest.approx(2.068558169, abs=1e-9)
    assert y.max() == 5.00001


def test_california_housing_as_frame():
    bunch = load_california_housing(as_frame=True)
    arrays = load_california_housing()
    pd.testing.assert_frame_equal(
        bunch.data, pd.DataFrame(arrays.data, columns=arrays.feature_names)
    )
    pd.testing.assert_series_equal(
        bunch.target, pd.Series(arrays.target, name="MedHouseVal")
    )
    assert list(bunch.frame) == bunch.feature_names + bunch.target_names
    X, y = load_california_housing(return_X_y=True, as_frame=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)


def test_california_housing_as_frame_says_that_it_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        load_california_housing(as_frame=True)


def test_fashion_mnist(fashion_mnist):
    (X_train, y_train), (X_test, y_test) = fashion_mnist
    assert X_train.shape == (60000, 28, 28)
    assert X_test.shape == (10000, 28, 28)
    assert {a.dtype for a in (X_train, y_train, X_test, y_test)} == {np.dtype("u1")}
    assert_array_equal(np.bincount(y_train), np.full(10, 6000))
    assert_array_equal(np.bincount(y_test), np.full(10, 1000))
    assert X_train.max() == X_test.max() == 255
    assert FASHION_MNIST_CLASSES[y_train[0]] == "Ankle boot"
    assert len(FASHION_MNIST_CLASSES) == 10


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("folder", [".", "fashion_mnist", "fashion-mnist"])
def test_fashion_mnist_is_found_in_data_home(nowhere, small, tmp_path, folder, packed):
    home = tmp_path / "home"
    store(small, home / folder, packed)
    assert_loaded(load_fashion_mnist(data_home=home), small)


def test_fashion_mnist_places_in_their_order(nowhere, small, tmp_path, monkeypatch):
    monkeypatch.setenv("SKANN_DATA_HOME", str(tmp_path / "environment"))
    argument = tmp_path / "argument"
    for place in ("keras/datasets/fashion-mnist", "environment", "argument"):
        shifted = {name: values + 1 for name, values in small.items()}
        store(shifted, tmp_path / place)
        small = shifted
        assert_loaded(load_fashion_mnist(data_home=str(argument)), small)


def test_fashion_mnist_places_of_keras_and_debian(monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.delenv("SKANN_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert [str(place) for place in datasets._fashion_mnist_places(None)] == [
        "/home/somebody/.keras/datasets/fashion-mnist",
        "/usr/share/datasets/fashion-mnist",
    ]


def test_fashion_mnist_passes_over_an_incomplete_place(nowhere, small, tmp_path):
    whole, incomplete = tmp_path / "keras/datasets/fashion-mnist", tmp_path / "home"
    store(small, whole)
    store(dict(list(small.items())[:3]), incomplete)
    assert_loaded(load_fashion_mnist(data_home=incomplete), small)


def test_fashion_mnist_is_downloaded_by_keras_at_last(nowhere, monkeypatch):
    monkeypatch.setattr("keras.datasets.fashion_mnist.load_data", lambda: "downloaded")
    assert load_fashion_mnist() == "downloaded"


def test_fashion_mnist_nowhere_says_how_to_get_it(nowhere, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_fashion_mnist(data_home=tmp_path / "home")
    message = str(caught.value)
    assert str(tmp_path / "home" / "fashion_mnist") in message
    assert str(tmp_path / "keras" / "datasets" / "fashion-mnist") in message
    assert "dataset-fashion-mnist" in message
    assert "SKANN_DATA_HOME" in message
    assert "URL fetch failure" in message


def test_fashion_mnist_names_a_file_that_was_cut_off(nowhere, small, tmp_path):
    store(small, tmp_path / "home")
    path = tmp_path / "home" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{path.name} is damaged"):
        load_fashion_mnist(data_home=tmp_path / "home")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda content: content[:-1], "bytes where"),
        (lambda content: content + b"\0", "bytes where"),
        (lambda content: b"\0\0\x0d" + content[3:], "does not start with"),
        (lambda content: b"", "does not start with"),
        (lambda content: idx(np.zeros(21, np.uint8)), "another shape"),
    ],
    ids=["cut off", "too long", "other type", "empty", "other shape"],
)
def test_fashion_mnist_names_a_file_of_other_content(
    nowhere, small, tmp_path, spoil, fault
):
    store(small, tmp_path / "home", packed=False)
    path = tmp_path / "home" / "train-labels-idx1-ubyte"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name} .*{fault}"):
        load_fashion_mnist(data_home=tmp_path / "home")
