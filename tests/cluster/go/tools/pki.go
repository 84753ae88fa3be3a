package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const week = 7 * 24 * time.Hour

type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// pki writes every certificate, key and kubeconfig of one cluster.
func pki(args []string) error {
	flags := flag.NewFlagSet("pki", flag.ExitOnError)
	dir := flags.String("dir", "", "folder to fill")
	nodes := flags.Int("nodes", 2, "number of nodes")
	server := flags.String("server", "", "address of the apiserver inside the cluster's namespaces")
	service := flags.String("service", "", "cluster address of the Service kubernetes")
	nodePrefix := flags.String("node-prefix", "", "node I has the address PREFIX followed by I")
	hostURL := flags.String("host-url", "", "URL of the apiserver from the host")
	name := flags.String("name", "", "name of the cluster, cluster and context in the kubeconfigs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *server == "" || *service == "" || *nodePrefix == "" || *hostURL == "" || *name == "" {
		return errors.New("all flags are needed")
	}
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(*dir)
	if err != nil {
		return err
	}
	innerURL := "https://" + net.JoinHostPort(*server, "6443")

	servers := []struct {
		file, cn string
		org      []string
		names    []string
		ips      []string
	}{
		{"apiserver", "kube-apiserver", nil, []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local",
		}, []string{*server, *service, "127.0.0.1"}},
		{"metrics-server", "metrics-server", nil, []string{"metrics-server.kube-system.svc"}, []string{*server}},
	}
	for i := 1; i <= *nodes; i++ {
		ip := fmt.Sprintf("%s%d", *nodePrefix, i)
		servers = append(servers, struct {
			file, cn string
			org      []string
			names    []string
			ips      []string
		}{fmt.Sprintf("kubelet-n%d", i), fmt.Sprintf("n%d", i), nil, []string{fmt.Sprintf("n%d", i)}, []string{ip}})
	}
	for _, s := range servers {
		if _, _, err := ca.issue(s.file, s.cn, s.org, s.names, s.ips, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
	}

	clients := []struct {
		file, cn string
		org      []string
	}{
		{"admin", "redkite-admin", []string{"system:masters"}},
		{"controller-manager", "system:kube-controller-manager", nil},
		{"scheduler", "system:kube-scheduler", nil},
		{"kube-proxy", "system:kube-proxy", nil},
		{"apiserver-kubelet-client", "kube-apiserver-kubelet-client", []string{"system:masters"}},
		{"front-proxy", "front-proxy", nil},
	}
	for i := 1; i <= *nodes; i++ {
		clients = append(clients, struct {
			file, cn string
			org      []string
		}{fmt.Sprintf("n%d", i), fmt.Sprintf("system:node:n%d", i), []string{"system:nodes"}})
	}
	for _, c := range clients {
		cert, key, err := ca.issue(c.file, c.cn, c.org, nil, nil, x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		if err := ca.kubeconfig(c.file+".conf", *name, innerURL, cert, key); err != nil {
			return err
		}
		if c.file == "admin" {
			if err := ca.kubeconfig("host.conf", *name, *hostURL, cert, key); err != nil {
				return err
			}
		}
	}

	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&signer.PublicKey)
	if err != nil {
		return err
	}
	if err := ca.write("service-account.pub", pemBlock("PUBLIC KEY", der)); err != nil {
		return err
	}
	_, err = ca.writeKey("service-account.key", signer)
	return err
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redkite-test-cluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(52 * week),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, cert: cert, key: key, pem: pemBlock("CERTIFICATE", der)}
	if err := ca.write("ca.crt", ca.pem); err != nil {
		return nil, err
	}
	_, err = ca.writeKey("ca.key", key)
	return ca, err
}

// issue writes FILE.crt and FILE.key and returns both as PEM.
func (ca *authority) issue(file, cn string, org, names, ips []string, usage x509.ExtKeyUsage) ([]byte, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cn, Organization: org},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(52 * week),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
		DNSNames:     names,
	}
	for _, ip := range ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return nil, nil, err
	}
	certPEM := pemBlock("CERTIFICATE", der)
	if err := ca.write(file+".crt", certPEM); err != nil {
		return nil, nil, err
	}
	keyPEM, err := ca.writeKey(file+".key", key)
	return certPEM, keyPEM, err
}

func (ca *authority) writeKey(file string, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := pemBlock("EC PRIVATE KEY", der)
	return block, ca.write(file, block)
}

func (ca *authority) kubeconfig(file, name, url string, cert, key []byte) error {
	b64 := base64.StdEncoding.EncodeToString
	return ca.write(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: %[1]s
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[1]s
`, name, url, b64(ca.pem), b64(cert), b64(key)))
}

func (ca *authority) write(file string, content []byte) error {
	return os.WriteFile(filepath.Join(ca.dir, file), content, 0o600)
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
