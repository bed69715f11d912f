import os

from setuptools import Extension, setup
from setuptools.command.install_lib import install_lib


class InstallLibrary(install_lib):
    """Also installs the library that $SENDFD_BUNDLE names, where _library.py looks for it.

    Not a build step: a later build in the same directory would find the copy again.
    """

    def install(self):
        installed = super().install()
        library = os.environ.get("SENDFD_BUNDLE")
        if library:
            place = os.path.join(self.install_dir, "sendfd", "libsendfd.so.1")
            installed.append(self.copy_file(library, place)[0])
        return installed


setup(
    cmdclass={"install_lib": InstallLibrary},
    # Optional: where it cannot be compiled, the package makes the same calls with ctypes.
    ext_modules=[Extension("sendfd._core", ["src/sendfd/_core.c"], optional=True)],
)
