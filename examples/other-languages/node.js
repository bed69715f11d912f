// Node with koffi (npm install koffi, and NODE_PATH): peer node node.js FILE
const fs = require('fs')
const koffi = require('koffi')

const library = koffi.load(process.env.LIBSENDFD || 'libsendfd.so.1')
const sendfd = library.func('int sendfd(int unix_domain_socket_fd, int fd)')
const recvfd = library.func('int recvfd(int unix_domain_socket_fd)')

function check(name, result) {
  if (result === -1) {
    const errno = koffi.errno()
    const code = Object.keys(koffi.os.errno).find(key => koffi.os.errno[key] === errno)
    throw Object.assign(new Error(`${name}: ${code}`), { errno, code })
  }
  return result
}

const file = fs.openSync(process.argv[2])
check('sendfd', sendfd(3, file))
fs.closeSync(file)

// This blocks all of Node: wait until there is something to receive.
const fd = check('recvfd', recvfd(3))
if (fd === -2) throw new Error('the peer has closed')
process.stdout.write(fs.readFileSync(fd))
fs.closeSync(fd)
