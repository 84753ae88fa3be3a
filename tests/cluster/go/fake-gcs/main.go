// Command fake-gcs serves one bucket in memory as Google Cloud Storage does, for tests.
//
// The library below speaks the JSON API and reads of the XML API. Redkite's client also writes and deletes by the XML
// API, so those requests are turned into the JSON ones here; conditions, metadata and bodies are the library's.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4443", "address to serve on")
	bucket := flag.String("bucket", "things", "the one bucket there is")
	flag.Parse()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true,
		PublicHost: *listen,
		Scheme:     "http",
	})
	if err != nil {
		log.Fatal(err)
	}
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	log.Fatal(http.ListenAndServe(*listen, translated(server.HTTPHandler(), *bucket)))
}

// translated answers requests of the XML API for the bucket with the JSON API of next.
func translated(next http.Handler, bucket string) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
		switch {
		case name == "storage" || name == "upload":
			next.ServeHTTP(answer, request)
		case name != bucket:
			refuse(answer, http.StatusNotFound, "NoSuchBucket")
		case rest != "" && request.Method == http.MethodPut:
			put(answer, request, next, bucket, rest)
		case rest != "" && request.Method == http.MethodDelete:
			request.URL = &url.URL{
				Path:    "/storage/v1/b/" + bucket + "/o/" + rest,
				RawPath: "/storage/v1/b/" + bucket + "/o/" + url.PathEscape(rest),
			}
			next.ServeHTTP(answer, request)
		default:
			next.ServeHTTP(answer, request)
		}
	})
}

// put stores an object; the client wants the generation and the tag as headers.
func put(answer http.ResponseWriter, request *http.Request, next http.Handler, bucket, name string) {
	query := url.Values{"uploadType": {"media"}, "name": {name}}
	if generation := request.Header.Get("x-goog-if-generation-match"); generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	request.Method = http.MethodPost
	request.URL = &url.URL{Path: "/upload/storage/v1/b/" + bucket + "/o", RawQuery: query.Encode()}
	stored := httptest.NewRecorder()
	next.ServeHTTP(stored, request)
	if stored.Code != http.StatusOK {
		refuse(answer, stored.Code, http.StatusText(stored.Code))
		return
	}
	answer.Header().Set("ETag", `"stored"`)
	answer.Header().Set("x-goog-generation", "1")
	answer.WriteHeader(http.StatusOK)
}

func refuse(answer http.ResponseWriter, status int, code string) {
	answer.Header().Set("Content-Type", "application/xml")
	answer.WriteHeader(status)
	fmt.Fprintf(answer, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code></Error>", code)
}
