package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// pause holds a pod's namespaces open and collects children left behind.
func pause([]string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			return nil
		case <-child:
			for {
				if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
					break
				}
			}
		}
	}
}

// wait asks a URL until it answers 200.
func wait(args []string) error {
	flags := flag.NewFlagSet("wait", flag.ExitOnError)
	caFile := flags.String("ca", "", "CA certificate of the server")
	cert := flags.String("cert", "", "client certificate")
	key := flags.String("key", "", "client key")
	limit := flags.Duration("timeout", time.Minute, "give up after this long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: wait [flags] URL")
	}
	config := &tls.Config{}
	if *caFile != "" {
		pem, err := os.ReadFile(*caFile)
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
	end := time.Now().Add(*limit)
	for {
		var last string
		resp, err := client.Get(flags.Arg(0))
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Sprintf("%s: %s", resp.Status, body)
		} else {
			last = err.Error()
		}
		if time.Now().After(end) {
			return fmt.Errorf("no 200 within %s, last: %s", *limit, last)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// get prints the body of a URL.
func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	limit := flags.Duration("timeout", 5*time.Second, "give up after this long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: get [-timeout D] URL")
	}
	client := &http.Client{Timeout: *limit}
	resp, err := client.Get(flags.Arg(0))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return errors.New(resp.Status)
	}
	return nil
}

// serve answers every request with the host's name.
func serve(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: serve ADDRESS")
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println("serving on", args[0])
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, host)
	}))
}

// resolve prints the addresses of a name.
func resolve(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: resolve NAME")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	for _, a := range addrs {
		fmt.Println(a)
	}
	return nil
}

// write puts text into a file and reads it back.
func write(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: write FILE TEXT")
	}
	if err := os.WriteFile(args[0], []byte(args[1]), 0o640); err != nil {
		return err
	}
	got, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	fmt.Printf("%s (uid %d)\n", got, os.Getuid())
	return nil
}
