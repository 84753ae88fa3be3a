package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// image writes an OCI archive: one uncompressed layer per --layer folder. The
// same input gives the same bytes: names are sorted, times and owners fixed.
func image(args []string) error {
	var layers, adds, links, env, entrypoint, cmd, labels list
	flags := flag.NewFlagSet("image", flag.ExitOnError)
	flags.Var(&layers, "layer", "folder that becomes a layer (repeatable, later ones on top)")
	flags.Var(&adds, "add", "SOURCE=/path: put one file into the last layer (repeatable)")
	flags.Var(&links, "link", "/path=target: symbolic link in the last layer (repeatable)")
	flags.Var(&env, "env", "K=V (repeatable)")
	flags.Var(&entrypoint, "entrypoint", "program, then its fixed arguments (repeatable)")
	flags.Var(&cmd, "cmd", "default argument (repeatable)")
	flags.Var(&labels, "label", "K=V (repeatable)")
	user := flags.String("user", "", "user id, or user:group")
	workdir := flags.String("workdir", "", "working directory")

	// Names stand first on the command line, flags after them.
	var names []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		names, args = append(names, args[0]), args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	names = append(names, flags.Args()...)
	if len(names) != 2 {
		return errors.New("usage: image NAME:TAG OUT.tar --layer DIR [--layer DIR…] [flags]")
	}
	name, out := qualify(names[0]), names[1]

	sources := make([]map[string]entry, 0, len(layers)+1)
	for _, dir := range layers {
		entries, err := tree(dir)
		if err != nil {
			return err
		}
		sources = append(sources, entries)
	}
	if len(sources) == 0 {
		sources = append(sources, map[string]entry{})
	}
	top := sources[len(sources)-1]
	for _, add := range adds {
		source, path, ok := strings.Cut(add, "=")
		if !ok {
			return fmt.Errorf("--add %q: want SOURCE=/path", add)
		}
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		put(top, path, entry{source: source, mode: info.Mode(), size: info.Size()})
	}
	for _, link := range links {
		path, target, ok := strings.Cut(link, "=")
		if !ok {
			return fmt.Errorf("--link %q: want /path=target", link)
		}
		put(top, path, entry{target: target, mode: fs.ModeSymlink | 0o777})
	}

	work, err := os.MkdirTemp(filepath.Dir(out), ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	var blobs []blob
	var diffIDs []string
	for i, entries := range sources {
		b, err := writeLayer(filepath.Join(work, fmt.Sprint(i)), entries)
		if err != nil {
			return err
		}
		blobs = append(blobs, b)
		diffIDs = append(diffIDs, b.Digest)
	}
	config := map[string]any{
		"created":      "1970-01-01T00:00:00Z",
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"rootfs":       map[string]any{"type": "layers", "diff_ids": diffIDs},
		"config": map[string]any{
			"User": *user, "Env": orEmpty(append(list{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)),
			"Entrypoint": orEmpty(entrypoint), "Cmd": orEmpty(cmd), "WorkingDir": *workdir, "Labels": pairs(labels),
		},
	}
	configBlob, err := jsonBlob(config, configType)
	if err != nil {
		return err
	}
	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": configBlob.descriptor, "layers": descriptors(blobs),
	}
	manifestBlob, err := jsonBlob(manifest, manifestType)
	if err != nil {
		return err
	}
	manifestBlob.Platform = map[string]string{"architecture": runtime.GOARCH, "os": "linux"}
	manifestBlob.Annotations = map[string]string{
		"io.containerd.image.name":          name,
		"org.opencontainers.image.ref.name": name[strings.LastIndex(name, ":")+1:],
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{manifestBlob.descriptor},
	})
	if err != nil {
		return err
	}
	blobs = append(blobs, configBlob, manifestBlob)
	tmp := filepath.Join(work, "archive")
	if err := writeArchive(tmp, index, blobs); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}

type entry struct {
	source string // file on disk, for a regular file
	target string // for a symbolic link
	mode   fs.FileMode
	size   int64
}

type blob struct {
	descriptor
	path    string // on disk, or
	content []byte // in memory
}

func tree(root string) (map[string]entry, error) {
	entries := map[string]entry{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{source: path, mode: info.Mode(), size: info.Size()}
		switch {
		case e.mode&fs.ModeSymlink != 0:
			if e.target, err = os.Readlink(path); err != nil {
				return err
			}
		case !e.mode.IsRegular() && !e.mode.IsDir():
			return fmt.Errorf("%s: only files, folders and links can go into an image", path)
		}
		entries[filepath.ToSlash(rel)] = e
		return nil
	})
	return entries, err
}

// put adds an entry and the folders above it. A folder that another layer has
// as a link (Debian's /lib) keeps what is there if it stands in this layer.
func put(entries map[string]entry, path string, e entry) {
	path = strings.Trim(filepath.Clean(path), "/")
	entries[path] = e
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if _, ok := entries[dir]; !ok {
			entries[dir] = entry{mode: fs.ModeDir | 0o755}
		}
	}
}

func writeLayer(path string, entries map[string]entry) (blob, error) {
	file, err := os.Create(path)
	if err != nil {
		return blob{}, err
	}
	defer file.Close()
	hash := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(file, hash), 1<<20)
	w := tar.NewWriter(buffered)
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := writeEntry(w, name, entries[name]); err != nil {
			return blob{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return blob{}, err
	}
	if err := buffered.Flush(); err != nil {
		return blob{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return blob{}, err
	}
	return blob{path: path, descriptor: descriptor{
		MediaType: layerType, Digest: digest(hash.Sum(nil)), Size: info.Size(),
	}}, nil
}

func writeEntry(w *tar.Writer, name string, e entry) error {
	header := &tar.Header{Name: name, Mode: int64(e.mode.Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if e.mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	switch {
	case e.mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(header)
	case e.mode&fs.ModeSymlink != 0:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.target
		return w.WriteHeader(header)
	}
	header.Typeflag, header.Size = tar.TypeReg, e.size
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	file, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

func writeArchive(path string, index []byte, blobs []blob) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffered := bufio.NewWriterSize(file, 1<<20)
	w := tar.NewWriter(buffered)
	plain := func(name string, content []byte) error {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := plain("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := plain("index.json", index); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, b := range blobs {
		if seen[b.Digest] {
			continue
		}
		seen[b.Digest] = true
		name := "blobs/sha256/" + strings.TrimPrefix(b.Digest, "sha256:")
		if b.path == "" {
			if err := plain(name, b.content); err != nil {
				return err
			}
			continue
		}
		if err := writeEntry(w, name, entry{source: b.path, mode: 0o644, size: b.Size}); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

func jsonBlob(value any, mediaType string) (blob, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return blob{}, err
	}
	sum := sha256.Sum256(content)
	return blob{content: content, descriptor: descriptor{
		MediaType: mediaType, Digest: digest(sum[:]), Size: int64(len(content)),
	}}, nil
}

// qualify spells a short image name the way the kubelet asks containerd for it.
func qualify(name string) string {
	if !strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		name += ":latest"
	}
	first, _, slash := strings.Cut(name, "/")
	switch {
	case !slash:
		return "docker.io/library/" + name
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return name
	}
	return "docker.io/" + name
}

func pairs(values list) map[string]string {
	m := map[string]string{}
	for _, v := range values {
		key, value, _ := strings.Cut(v, "=")
		m[key] = value
	}
	return m
}

func orEmpty(values list) []string {
	if values == nil {
		return []string{}
	}
	return values
}

func descriptors(blobs []blob) []descriptor {
	out := make([]descriptor, 0, len(blobs))
	for _, b := range blobs {
		out = append(out, b.descriptor)
	}
	return out
}

func digest(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
