package goclient

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// The times to live are long enough for a machine that stands still for seconds; what waits for them runs in parallel.

// TestLifetimeWatcher is how operators and sidecars keep a token: it renews on time.
func TestLifetimeWatcher(t *testing.T) {
	t.Parallel()
	s := launch(t)
	initialise(t, s)
	root := s.client(s.root)
	periodic := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, Period: "18s"}))
	watcher := watch(t, s, periodic)
	for range 2 {
		renewal := <-watcher.RenewCh()
		equal(t, "lease", renewal.Secret.Auth.LeaseDuration, 18)
		equal(t, "token", renewal.Secret.Auth.ClientToken, periodic.Auth.ClientToken)
	}
	watcher.Stop()
	value[*api.Secret](t)(s.client(periodic.Auth.ClientToken).Auth().Token().LookupSelf())
}

// TestLifetimeWatcherEnds: a token that has an end is renewed up to it, and then the watcher is done.
func TestLifetimeWatcherEnds(t *testing.T) {
	t.Parallel()
	s := launch(t)
	initialise(t, s)
	root := s.client(s.root)
	limited := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "10s", ExplicitMaxTTL: "18s"}))
	ending := watch(t, s, limited)
	for done := false; !done; {
		select {
		case <-ending.RenewCh():
		case err := <-ending.DoneCh():
			must(t, err)
			done = true
		case <-time.After(patience):
			t.Fatal("the watcher does not end")
		}
	}
	s.eventually("the end of the token", func() bool {
		_, err := s.client(limited.Auth.ClientToken).Auth().Token().LookupSelf()
		return err != nil
	})

	// A token that is taken away ends its watcher with the server's refusal.
	revoked := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "30s"}))
	must(t, root.Auth().Token().RevokeAccessor(revoked.Auth.Accessor))
	_, err := s.client(revoked.Auth.ClientToken).Auth().Token().RenewSelf(30)
	refused(t, err, 403, "permission denied")
}

func watch(t *testing.T, s *server, secret *api.Secret) *api.LifetimeWatcher {
	t.Helper()
	client := s.client(secret.Auth.ClientToken)
	watcher := value[*api.LifetimeWatcher](t)(client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret}))
	go watcher.Start()
	t.Cleanup(watcher.Stop)
	return watcher
}
