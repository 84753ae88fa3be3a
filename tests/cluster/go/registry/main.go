// Command registry serves an image registry from memory, for the tests of a cluster that was there already.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5000", "address to serve on")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*listen, registry.New()))
}
