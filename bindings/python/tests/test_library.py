"""Which library is loaded, and what version it has."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

import sendfd

PACKAGE = os.path.dirname(sendfd.__file__)
#: That which these tests load.
LIBRARY = os.environ.get("LIBSENDFD")
SHOW = """
try:
    import sendfd
except ImportError as error:
    print(type(error).__name__, error.name, error.path, error, sep="|")
else:
    print(next(line.split()[-1] for line in open("/proc/self/maps") if "libsendfd" in line))
"""


def loaded(python=sys.executable, package=PACKAGE, **environment):
    """What a Python says that it loads with these environment variables."""
    environment = {
        **{name: os.environ[name] for name in os.environ if name != "LIBSENDFD"},
        "PYTHONPATH": os.path.dirname(package),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    return subprocess.run(
        [python, "-c", SHOW], env=environment, text=True, check=True, stdout=subprocess.PIPE
    ).stdout.strip()


@pytest.fixture
def package_with_library(tmp_path):
    if not LIBRARY:
        pytest.skip("LIBSENDFD does not say where a library is to be copied from")
    shutil.copytree(PACKAGE, tmp_path / "sendfd")
    shutil.copy(LIBRARY, tmp_path / "sendfd" / "libsendfd.so.1")
    return str(tmp_path / "sendfd")


def test_version():
    """There is one: that of the library, which Cargo.toml has."""
    assert sendfd.version() == sendfd.__version__
    expected = os.environ.get("VERSION")
    if expected is None:
        pytest.skip("VERSION does not say which version is built")
    assert sendfd.__version__ == expected


def test_exports():
    for name in sendfd.__all__:
        assert hasattr(sendfd, name), name


def test_core(request):
    """is used, unless it is told not to be, with the library that it is given"""
    if request.config.getoption("--without-core"):
        assert sendfd._calls.recvfds is sendfd._calls._recvfds
        return
    core = pytest.importorskip("sendfd._core", reason="the core in C is not built")
    assert sendfd._calls.recvfds is core.recvfds
    with pytest.raises(ImportError):
        core.bind(ctypes.CDLL(None)._handle)


def test_bundled_copy(package_with_library):
    expected = f"{package_with_library}/libsendfd.so.1"
    assert loaded(package=package_with_library) == expected
    assert loaded(package=package_with_library, LIBSENDFD="") == expected


def test_environment_comes_first(package_with_library, tmp_path):
    other = shutil.copy(LIBRARY, tmp_path / "libsendfd-other.so")
    assert loaded(package=package_with_library, LIBSENDFD=str(other)) == str(other)


@pytest.mark.parametrize("path", ["/nonexistent/libsendfd.so.1", "/", "libc.so.6"])
def test_no_library(path):
    """is an ImportError that names the path; nothing else is tried"""
    kind, name, told, message = loaded(LIBSENDFD=path).split("|")
    assert (kind, name, told) == ("ImportError", "sendfd", path)
    assert path in message
    assert "undefined symbol" in message or path != "libc.so.6"


def test_set_id_program():
    """ignores LIBSENDFD"""
    if os.geteuid() != 0:
        pytest.skip("making a set-id program needs root")
    directory = tempfile.mkdtemp()
    try:
        python = os.path.join(directory, "python")
        shutil.copy(os.path.realpath(sys.executable), python)
        os.chown(python, -1, 1)
        os.chmod(python, 0o2755)
        at_secure = "import ctypes; print(ctypes.CDLL(None).getauxval(23))"
        secure = subprocess.run([python, "-c", at_secure], text=True, stdout=subprocess.PIPE)
        if secure.stdout != "1\n":
            pytest.skip("set-id programs do not work here")
        assert "/nonexistent" not in loaded(python, LIBSENDFD="/nonexistent/libsendfd.so.1")
    finally:
        shutil.rmtree(directory)
