from setuptools import Extension, setup

# Optional: where it cannot be compiled, the package makes the same calls with ctypes.
setup(ext_modules=[Extension("sendfd._core", ["src/sendfd/_core.c"], optional=True)])
