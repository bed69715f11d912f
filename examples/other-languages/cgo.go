// Go with cgo: go build cgo.go && peer ./cgo FILE
package main

/*
#cgo pkg-config: sendfd
#include <sendfd.h>
*/
import "C"

import (
	"io"
	"log"
	"os"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// A second result of a function of C is errno.
	if sent, err := C.sendfd(3, C.int(file.Fd())); sent == -1 {
		log.Fatal("sendfd: ", err)
	}
	file.Close() // and so keeps it from being finalized before

	fd, err := C.recvfd(3)
	if fd == C.RECVFD_EOF {
		log.Fatal("the peer has closed")
	} else if fd == -1 {
		log.Fatal("recvfd: ", err)
	}
	received := os.NewFile(uintptr(fd), "received")
	defer received.Close()
	if _, err := io.Copy(os.Stdout, received); err != nil {
		log.Fatal(err)
	}
}
