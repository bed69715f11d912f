-- LuaJIT: peer luajit luajit.lua FILE
local ffi = require("ffi")
ffi.cdef [[
int sendfd(int unix_domain_socket_fd, int fd);
int recvfd(int unix_domain_socket_fd);
int fileno(void *stream);
void *fdopen(int fd, const char *mode);
size_t fread(void *data, size_t size, size_t count, void *stream);
int fclose(void *stream);
char *strerror(int error);
]]
local library = ffi.load(os.getenv("LIBSENDFD") or "libsendfd.so.1")

local function check(name, result)
    if result == -1 then
        error(name .. ": " .. ffi.string(ffi.C.strerror(ffi.errno())))
    end
    return result
end

local file = assert(io.open(arg[1]))
check("sendfd", library.sendfd(3, ffi.C.fileno(file)))
file:close()

local fd = check("recvfd", library.recvfd(3))
assert(fd ~= -2, "the peer has closed")
local received = ffi.C.fdopen(fd, "r")
local data = ffi.new("char[4096]")
repeat
    local length = tonumber(ffi.C.fread(data, 1, 4096, received))
    io.write(ffi.string(data, length))
until length == 0
ffi.C.fclose(received)
