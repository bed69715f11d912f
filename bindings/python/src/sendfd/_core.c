/*
 * The calls that are made most, in C: what _calls.py has with ctypes, and does the
 * same. Descriptors that come are written to an array that the caller already holds:
 * a number that a C function returns is lost when a signal handler raises.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define MAX_FDS 253

static int (*library_sendfd)(int, int);
static int (*library_sendfds)(int, const int *, int);
static int (*library_recvfds)(int, int *, int);

/* The descriptor of a number, or of an object with fileno(); or -1 with an error set. */
static int to_descriptor(PyObject *file, int *descriptor)
{
    PyObject *number;
    long value;

    if (PyBool_Check(file)) {
        PyErr_SetString(PyExc_TypeError, "a bool is no descriptor");
        return -1;
    }
    if (PyLong_Check(file)) {
        number = file;
        Py_INCREF(number);
    } else {
        PyObject *method = PyObject_GetAttrString(file, "fileno");

        if (method == NULL) {
            if (PyErr_ExceptionMatches(PyExc_AttributeError))
                PyErr_Format(PyExc_TypeError, "not a number, and without fileno(): %R",
                             file);
            return -1;
        }
        number = PyObject_CallNoArgs(method);
        Py_DECREF(method);
        if (number == NULL)
            return -1;
    }
    value = PyLong_AsLong(number);
    Py_DECREF(number);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < INT_MIN || value > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a descriptor is an int of C");
        return -1;
    }
    *descriptor = (int)value;
    return 0;
}

static PyObject *to_result(int result)
{
    return result == -1 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(result);
}

static int check_count(Py_ssize_t count, Py_ssize_t expected)
{
    if (count == expected)
        return 0;
    PyErr_Format(PyExc_TypeError, "%zd arguments are needed", expected);
    return -1;
}

static PyObject *core_sendfd(PyObject *module, PyObject *const *arguments,
                             Py_ssize_t count)
{
    PyThreadState *state;
    int socket, fd, result;

    (void)module;
    if (check_count(count, 2) < 0 || to_descriptor(arguments[0], &socket) < 0 ||
        to_descriptor(arguments[1], &fd) < 0)
        return NULL;
    state = PyEval_SaveThread();
    result = library_sendfd(socket, fd);
    PyEval_RestoreThread(state);
    return to_result(result);
}

static PyObject *core_sendfds(PyObject *module, PyObject *const *arguments,
                              Py_ssize_t count)
{
    PyThreadState *state;
    int fds[MAX_FDS];
    int socket, result;
    Py_ssize_t nfds;

    (void)module;
    if (check_count(count, 2) < 0 || to_descriptor(arguments[0], &socket) < 0)
        return NULL;
    if (!PyList_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "not a list");
        return NULL;
    }
    /* fileno() may change the list. Of more than there is room for the library
       reads none. */
    for (nfds = 0; nfds < PyList_GET_SIZE(arguments[1]); nfds++) {
        PyObject *file = PyList_GET_ITEM(arguments[1], nfds);
        int fd, failed;

        Py_INCREF(file);
        failed = to_descriptor(file, &fd);
        Py_DECREF(file);
        if (failed)
            return NULL;
        if (nfds < MAX_FDS)
            fds[nfds] = fd;
    }
    state = PyEval_SaveThread();
    result = library_sendfds(socket, fds, nfds > MAX_FDS ? MAX_FDS + 1 : (int)nfds);
    PyEval_RestoreThread(state);
    return to_result(result);
}

static PyObject *core_recvfds(PyObject *module, PyObject *const *arguments,
                              Py_ssize_t count)
{
    PyThreadState *state;
    PyObject *returned;
    Py_buffer numbers;
    int socket, result, room;

    (void)module;
    if (check_count(count, 2) < 0 || to_descriptor(arguments[0], &socket) < 0 ||
        PyObject_GetBuffer(arguments[1], &numbers, PyBUF_WRITABLE) < 0)
        return NULL;
    room = (int)(numbers.len / (Py_ssize_t)sizeof(int));
    state = PyEval_SaveThread();
    result = library_recvfds(socket, numbers.buf, room);
    PyEval_RestoreThread(state);
    returned = to_result(result); /* before anything else can change errno */
    PyBuffer_Release(&numbers);
    return returned;
}

static PyObject *core_bind(PyObject *module, PyObject *handle)
{
    void *library = PyLong_AsVoidPtr(handle);
    void *one, *several, *received;

    (void)module;
    if (library == NULL && PyErr_Occurred())
        return NULL;
    one = dlsym(library, "sendfd");
    several = dlsym(library, "sendfds");
    received = dlsym(library, "recvfds");
    if (!one || !several || !received)
        return PyErr_Format(PyExc_ImportError, "no functions of libsendfd");
    /* POSIX has it that what dlsym returns can be a pointer to a function. */
    *(void **)&library_sendfd = one;
    *(void **)&library_sendfds = several;
    *(void **)&library_recvfds = received;
    Py_RETURN_NONE;
}

/* --- Owner: closes the descriptors in an array when it goes --------------------- */

struct owner {
    PyObject_HEAD PyObject *numbers;
};

static PyObject *owner_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *numbers;
    struct owner *owner;

    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O", &numbers))
        return NULL;
    owner = (struct owner *)PyType_GenericAlloc(type, 0);
    if (owner != NULL) {
        Py_INCREF(numbers);
        owner->numbers = numbers;
    }
    return (PyObject *)owner;
}

static void close_all(PyObject *numbers)
{
    Py_buffer buffer;
    Py_ssize_t index;

    if (PyObject_GetBuffer(numbers, &buffer, PyBUF_WRITABLE) < 0) {
        PyErr_WriteUnraisable(numbers);
        return;
    }
    for (index = 0; index < buffer.len / (Py_ssize_t)sizeof(int); index++) {
        int fd = ((int *)buffer.buf)[index];

        if (fd >= 0) {
            PyThreadState *state = PyEval_SaveThread();

            close(fd);
            PyEval_RestoreThread(state);
        }
    }
    PyBuffer_Release(&buffer);
}

static void owner_dealloc(PyObject *self)
{
    PyObject *numbers = ((struct owner *)self)->numbers;
    PyTypeObject *type = Py_TYPE(self);
    PyObject *kind, *value, *traceback;

    PyErr_Fetch(&kind, &value, &traceback);
    close_all(numbers);
    PyErr_Restore(kind, value, traceback);
    Py_DECREF(numbers);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot owner_slots[] = {
    {Py_tp_new, owner_new},
    {Py_tp_dealloc, owner_dealloc},
    {0, NULL},
};

static PyType_Spec owner_spec = {
    .name = "sendfd._core.Owner",
    .basicsize = sizeof(struct owner),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = owner_slots,
};

/* --- the module ----------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"bind", core_bind, METH_O, NULL},
    {"sendfd", (PyCFunction)(void (*)(void))core_sendfd, METH_FASTCALL, NULL},
    {"sendfds", (PyCFunction)(void (*)(void))core_sendfds, METH_FASTCALL, NULL},
    {"recvfds", (PyCFunction)(void (*)(void))core_recvfds, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&owner_spec);

    if (type == NULL)
        return -1;
    if (PyModule_AddObject(module, "Owner", type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
