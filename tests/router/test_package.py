import subprocess
import sys

import pytest

import router


def test_importing_the_package_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, router; print([m for m in ('numpy', 'torch', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_deciding_needs_no_scikit_learn_and_no_torch() -> None:
    code = (
        "import sys, router; router.Router, router.OutcomeMatrix\n"
        "from router.policies import make_policy; make_policy('cluster')\n"
        "print([m for m in ('torch', 'sklearn', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_export_names_the_valid_ones() -> None:
    with pytest.raises(AttributeError, match=r"Roter.*OutcomeMatrix, Route, Router"):
        _ = router.Roter


def test_every_public_name_is_there() -> None:
    assert all(getattr(router, name).__name__ == name for name in router.__all__)
