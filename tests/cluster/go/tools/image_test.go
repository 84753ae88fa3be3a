package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func makeImage(t *testing.T, out string) {
	t.Helper()
	layer := filepath.Join(t.TempDir(), "layer")
	if err := os.MkdirAll(filepath.Join(layer, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(layer, "etc/greeting"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := image([]string{"example/own:1", out, "--layer", layer, "--link", "/bin/a=b", "--cmd", "x"}); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameInputGivesTheSameArchive(t *testing.T) {
	dir := t.TempDir()
	makeImage(t, filepath.Join(dir, "a.tar"))
	makeImage(t, filepath.Join(dir, "b.tar"))
	a, _ := os.ReadFile(filepath.Join(dir, "a.tar"))
	b, _ := os.ReadFile(filepath.Join(dir, "b.tar"))
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Fatalf("archives differ: %d and %d bytes", len(a), len(b))
	}
}

func TestShortNamesAreSpelledOut(t *testing.T) {
	for short, want := range map[string]string{
		"busybox":            "docker.io/library/busybox:latest",
		"own/app:2":          "docker.io/own/app:2",
		"localhost/app:dev":  "localhost/app:dev",
		"redkite.test/pause": "redkite.test/pause:latest",
		"host:5000/app:dev":  "host:5000/app:dev",
		"host:5000/path/app": "host:5000/path/app:latest",
	} {
		if got := qualify(short); got != want {
			t.Errorf("qualify(%q) = %q, want %q", short, got, want)
		}
	}
}

// fakeRegistry keeps blobs after checking their digest and wants a token.
func fakeRegistry(t *testing.T) (*httptest.Server, map[string][]byte) {
	stored := map[string][]byte{}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "me" || password != "secret" || r.URL.Query().Get("scope") != "repository:team/own:pull,push" {
				t.Errorf("token asked for with %q %q %q", user, password, r.URL.RawQuery)
			}
			fmt.Fprint(w, `{"token":"t"}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer t" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(
				`Bearer realm="%s/token",service="fake",scope="repository:team/own:pull,push"`, server.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch path := strings.TrimPrefix(r.URL.Path, "/v2/team/own/"); {
		case r.Method == http.MethodHead && stored[path] != nil:
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "/v2/team/own/upload?state=1")
			w.WriteHeader(http.StatusAccepted)
		case path == "upload":
			digest := r.URL.Query().Get("digest")
			sum := sha256.Sum256(body)
			if digest != "sha256:"+hex.EncodeToString(sum[:]) || r.URL.Query().Get("state") != "1" {
				t.Errorf("upload %q does not fit its content", r.URL.RawQuery)
			}
			stored["blobs/"+digest] = body
			w.WriteHeader(http.StatusCreated)
		default:
			stored[path] = body
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(server.Close)
	return server, stored
}

func TestPushUploadsEveryPartOfAnImage(t *testing.T) {
	t.Setenv("REGISTRY_USER", "me")
	t.Setenv("REGISTRY_PASSWORD", "secret")
	server, stored := fakeRegistry(t)
	archive := filepath.Join(t.TempDir(), "own.tar")
	makeImage(t, archive)
	for range 2 { // the second time every blob is there
		if err := push([]string{archive, strings.TrimPrefix(server.URL, "http://") + "/team"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(stored) != 3 || stored["manifests/1"] == nil {
		t.Fatalf("stored %d things, want a layer, a config and a manifest", len(stored))
	}
}
