package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// push copies the image of an OCI archive to a registry: the last part of its
// name and its tag stay, what stands before is the registry's.
func push(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: push IMAGE.tar REGISTRY[/PATH]")
	}
	blobs, err := readArchive(args[0])
	if err != nil {
		return err
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(blobs["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		return fmt.Errorf("%s is no OCI archive of one image", args[0])
	}
	top := index.Manifests[0]
	name := top.Annotations["io.containerd.image.name"]
	name = name[strings.LastIndex(name, "/")+1:]
	repository, tag, ok := strings.Cut(name, ":")
	if !ok {
		return errors.New("the archive does not name its image")
	}
	host, path, _ := strings.Cut(args[1], "/")
	if path != "" {
		repository = path + "/" + repository
	}
	manifest := blobs[blobPath(top.Digest)]
	var parts struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal(manifest, &parts); err != nil {
		return err
	}
	r := registry{base: scheme(host) + "://" + host + "/v2/" + repository, host: host}
	for _, d := range append(parts.Layers, parts.Config) {
		if err := r.blob(d.Digest, blobs[blobPath(d.Digest)]); err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
	}
	resp, err := r.do(http.MethodPut, r.base+"/manifests/"+tag, top.MediaType, manifest)
	if err != nil {
		return err
	}
	if err := expect(resp, http.StatusCreated, http.StatusOK); err != nil {
		return err
	}
	fmt.Printf("pushed %s/%s:%s\n", host, repository, tag)
	return nil
}

func readArchive(path string) (map[string][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[filepath.Clean(header.Name)], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// scheme: plain HTTP for a registry on this machine, as container engines do.
func scheme(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if ip := net.ParseIP(name); name == "localhost" || ip != nil && ip.IsLoopback() {
		return "http"
	}
	return "https"
}

type registry struct{ base, host, authorization string }

// blob uploads content in one piece unless the registry has it.
func (r *registry) blob(digest string, content []byte) error {
	resp, err := r.do(http.MethodHead, r.base+"/blobs/"+digest, "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	resp, err = r.do(http.MethodPost, r.base+"/blobs/uploads/", "", []byte{})
	if err != nil {
		return err
	}
	if err := expect(resp, http.StatusAccepted); err != nil {
		return err
	}
	target, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	query := target.Query()
	query.Set("digest", digest)
	target.RawQuery = query.Encode()
	resp, err = r.do(http.MethodPut, target.String(), "application/octet-stream", content)
	if err != nil {
		return err
	}
	return expect(resp, http.StatusCreated)
}

// do sends a request, and once more with what the registry asks for as login.
func (r *registry) do(method, target, contentType string, body []byte) (*http.Response, error) {
	for retried := false; ; retried = true {
		req, err := http.NewRequest(method, target, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		if r.authorization != "" {
			req.Header.Set("Authorization", r.authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || retried {
			return resp, err
		}
		resp.Body.Close()
		if r.authorization, err = login(r.host, resp.Header.Get("WWW-Authenticate")); err != nil {
			return nil, err
		}
	}
}

// login answers a challenge: Basic with the credentials, Bearer with a token
// fetched for them.
func login(host, challenge string) (string, error) {
	basic := credentials(host)
	kind, rest, _ := strings.Cut(challenge, " ")
	if strings.EqualFold(kind, "Basic") {
		if basic == "" {
			return "", fmt.Errorf("%s wants a login: set REGISTRY_USER and REGISTRY_PASSWORD", host)
		}
		return "Basic " + basic, nil
	}
	fields := map[string]string{}
	for _, field := range strings.Split(rest, "\",") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[key] = strings.Trim(value, `"`)
	}
	realm, err := url.Parse(fields["realm"])
	if err != nil || realm.Host == "" {
		return "", fmt.Errorf("%s asks for a login in an unknown way: %q", host, challenge)
	}
	query := realm.Query()
	query.Set("service", fields["service"])
	query.Set("scope", fields["scope"])
	realm.RawQuery = query.Encode()
	req, err := http.NewRequest(http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", err
	}
	if basic != "" {
		req.Header.Set("Authorization", "Basic "+basic)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("token of %s: %s: %w", realm.Host, resp.Status, err)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if answer.Token == "" {
		return "", fmt.Errorf("%s gave no token: %s", realm.Host, resp.Status)
	}
	return "Bearer " + answer.Token, nil
}

// credentials: from the environment, else as the docker client keeps them.
func credentials(host string) string {
	if user := os.Getenv("REGISTRY_USER"); user != "" {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + os.Getenv("REGISTRY_PASSWORD")))
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		dir = filepath.Join(os.Getenv("HOME"), ".docker")
	}
	content, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return ""
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if json.Unmarshal(content, &config) != nil {
		return ""
	}
	return config.Auths[host].Auth
}

func expect(resp *http.Response, codes ...int) error {
	defer resp.Body.Close()
	for _, code := range codes {
		if resp.StatusCode == code {
			return nil
		}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	return fmt.Errorf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL.Path, resp.Status, body)
}
