package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// forward carries connections from a loopback port of the machine into a
// cluster's network namespace. A socket belongs to the namespace it was made
// in for good: the listener is opened outside, then the program starts itself
// again inside, so that everything it dials is dialled there. No route and no
// interface joins the two.
func forward(args []string) error {
	flags := flag.NewFlagSet("forward", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address on the machine")
	portFile := flags.String("port-file", "", "file that gets the port listened on")
	netns := flags.String("netns", "", "network namespace to dial in, a file")
	to := flags.String("to", "", "address to dial in the namespace")
	fd := flags.Int("fd", -1, "inherited listener (internal)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *to == "" {
		return errors.New("-to is needed")
	}
	if *fd >= 0 {
		return serveForward(uintptr(*fd), *to)
	}
	if *netns == "" {
		return errors.New("-netns is needed")
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	if *portFile != "" {
		port := listener.Addr().(*net.TCPAddr).Port
		if err := os.WriteFile(*portFile, []byte(strconv.Itoa(port)+"\n"), 0o644); err != nil {
			return err
		}
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	inherited, err := syscall.Dup(int(file.Fd())) // a duplicate is not closed on exec
	if err != nil {
		return err
	}
	return syscall.Exec(nsenter, []string{
		"nsenter", "--net=" + *netns, self, "forward", "-fd", strconv.Itoa(inherited), "-to", *to,
	}, os.Environ())
}

func serveForward(fd uintptr, to string) error {
	listener, err := net.FileListener(os.NewFile(fd, "listener"))
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			fmt.Fprintln(os.Stderr, "accept:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go carry(conn.(*net.TCPConn), to)
	}
}

func carry(client *net.TCPConn, to string) {
	defer client.Close()
	conn, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, "dial:", err)
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	copyHalf := func(dst, src *net.TCPConn) {
		io.Copy(dst, src)
		dst.CloseWrite()
	}
	both.Go(func() { copyHalf(server, client) })
	both.Go(func() { copyHalf(client, server) })
	both.Wait()
}
