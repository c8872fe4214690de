package spool

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// becomeNobody takes this goroutine's thread its rights on files, for good.
func becomeNobody() {
	runtime.LockOSThread()
	unix.SetfsuidRetUid(65534)
}
