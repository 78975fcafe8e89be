package goclient

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// TestLifetimeWatcher is how operators and sidecars keep a token: it renews on time, and says so when nothing can be renewed any more.
func TestLifetimeWatcher(t *testing.T) {
	s := launch(t)
	initialise(t, s)
	root := s.client(s.root)
	periodic := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, Period: "3s"}))
	watcher := watch(t, s, periodic)
	for range 2 {
		renewal := <-watcher.RenewCh()
		equal(t, "lease", renewal.Secret.Auth.LeaseDuration, 3)
		equal(t, "token", renewal.Secret.Auth.ClientToken, periodic.Auth.ClientToken)
	}
	watcher.Stop()
	value[*api.Secret](t)(s.client(periodic.Auth.ClientToken).Auth().Token().LookupSelf())

	// One that has an end is renewed up to it, and then the watcher is done.
	limited := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", ExplicitMaxTTL: "5s"}))
	ending := watch(t, s, limited)
	began := time.Now()
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
	if passed := time.Since(began); passed > 8*time.Second {
		t.Fatalf("the watcher ended after %v, the token after 5 s", passed)
	}
	s.eventually("the end of the token", func() bool {
		_, err := s.client(limited.Auth.ClientToken).Auth().Token().LookupSelf()
		return err != nil
	})

	// A token that is taken away ends its watcher with the server's refusal.
	revoked := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "3s"}))
	must(t, root.Auth().Token().RevokeAccessor(revoked.Auth.Accessor))
	_, err := s.client(revoked.Auth.ClientToken).Auth().Token().RenewSelf(3)
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
