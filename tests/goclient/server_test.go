package goclient

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// patience is how long anything may take that will come: a machine may be slow, or stand still for seconds.
const patience = 180 * time.Second

// server is one process of the built binary, with its data in a folder of its own.
type server struct {
	t      *testing.T
	dir    string
	addr   string
	log    string
	cmd    *exec.Cmd
	ended  chan error
	shares []string
	root   string
}

// launch writes a configuration and starts the server with it.
func launch(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	port := freePort()
	s := &server{t: t, dir: dir, addr: fmt.Sprintf("http://127.0.0.1:%d", port), log: filepath.Join(dir, "server.log")}
	config := fmt.Sprintf(`
storage "raft" {
  path    = "%s/data"
  node_id = "node1"
}
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
api_addr = "%s"
`, dir, port, s.addr)
	must(t, os.WriteFile(filepath.Join(dir, "server.hcl"), []byte(config), 0o600))
	s.start()
	t.Cleanup(s.kill)
	return s
}

// start runs the process and waits for its first answer.
func (s *server) start() {
	s.t.Helper()
	binary := os.Getenv("STRONGROOM")
	if binary == "" {
		s.t.Fatal("STRONGROOM must name the built binary")
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s.t, err)
	defer log.Close()
	s.cmd = exec.Command(binary, "server", "-config="+filepath.Join(s.dir, "server.hcl"))
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	must(s.t, s.cmd.Start())
	s.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(s.cmd, s.ended)
	s.eventually("an answer of sys/seal-status", func() bool {
		_, err := s.client("").Sys().SealStatus()
		return err == nil
	})
}

// kill is kill -9.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.ended
	s.cmd = nil
}

// eventually polls another process until a condition holds.
func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-s.ended:
			s.cmd = nil
			s.t.Fatalf("the server ended (%v):\n%s", err, s.logText())
		default:
		}
		if holds() {
			return
		}
	}
	s.t.Fatalf("%s did not come:\n%s", what, s.logText())
}

func (s *server) logText() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

// client is a client with a token; it does not retry, so that what is seen is the first answer.
func (s *server) client(token string) *api.Client {
	s.t.Helper()
	config := api.DefaultConfig()
	must(s.t, config.Error)
	config.Address, config.MaxRetries = s.addr, 0
	client, err := api.NewClient(config)
	must(s.t, err)
	client.SetToken(token)
	return client
}

// unseal hands in three shares and waits until the node is active.
func (s *server) unseal() {
	s.t.Helper()
	sys := s.client("").Sys()
	for i, share := range s.shares[:3] {
		status, err := sys.Unseal(share)
		must(s.t, err)
		if want := i < 2; status.Sealed != want {
			s.t.Fatalf("sealed = %v after %d shares", status.Sealed, i+1)
		}
	}
	s.eventually("an active node", func() bool {
		health, err := sys.Health()
		return err == nil && !health.Standby && !health.Sealed
	})
}

// freePort is below the ports that the system gives to outgoing connections, so that none takes it before the server does.
func freePort() int {
	for {
		port := 12_000 + rand.IntN(18_000)
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value unwraps an answer that must be there.
func value[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// refused asserts that an error is the server's, with this status and a text that holds these words.
func refused(t *testing.T, err error, status int, words string) {
	t.Helper()
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		t.Fatalf("wanted a refusal with %d, got %v", status, err)
	}
	if answer.StatusCode != status || !strings.Contains(strings.Join(answer.Errors, "\n"), words) {
		t.Fatalf("wanted %d %q, got %d %q", status, words, answer.StatusCode, answer.Errors)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// readable says which of the words stand readable in a file below a folder.
func readable(t *testing.T, folder string, words ...string) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, word := range words {
			if bytes.Contains(data, []byte(word)) {
				found = append(found, word+" in "+path)
			}
		}
		return nil
	}))
	return found
}
