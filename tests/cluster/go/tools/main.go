// rktool holds the small helpers of the test cluster that a shell script would
// do slowly or not at all. It uses the standard library alone, so it is a
// static binary that also serves as the pause and probe program in pods.
package main

import (
	"fmt"
	"os"
	"sort"
)

var commands = map[string]func([]string) error{
	"pki":     pki,
	"image":   image,
	"forward": forward,
	"push":    push,
	"wait":    wait,
	"pause":   pause,
	"get":     get,
	"serve":   serve,
	"resolve": resolve,
	"write":   write,
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := commands[os.Args[1]]; ok {
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "rktool %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: rktool COMMAND …\ncommands: %v\n", names)
	os.Exit(2)
}
