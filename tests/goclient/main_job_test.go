package goclient

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

const appPolicy = `path "secret/data/database/*" { capabilities = ["read"] }`

// TestMainJob is an operator's first day, in order, as the CLI does it.
func TestMainJob(t *testing.T) {
	s := launch(t)
	initialise(t, s)
	root := s.client(s.root)
	status(t, root)
	mounts(t, root)
	versions(t, root)
	metadata(t, root)
	rawKV(t, root)
	appToken := policies(t, s, root)
	userpass(t, s, root)
	tokens(t, s, root)
	wrapping(t, s, root)
	audit(t, s, root)
	raft(t, root)
	afterACrash(t, s, appToken)
}

func initialise(t *testing.T, s *server) {
	sys := s.client("").Sys()
	equal(t, "initialised", value[bool](t)(sys.InitStatus()), false)
	_, err := sys.Init(&api.InitRequest{SecretShares: 2, SecretThreshold: 3})
	refused(t, err, 400, "threshold cannot be larger than shares")
	made := value[*api.InitResponse](t)(sys.Init(&api.InitRequest{SecretShares: 5, SecretThreshold: 3}))
	equal(t, "shares", len(made.KeysB64), 5)
	s.shares, s.root = made.KeysB64, made.RootToken
	_, err = sys.Init(&api.InitRequest{SecretShares: 5, SecretThreshold: 3})
	refused(t, err, 400, "Vault is already initialized")
	_, err = s.client(s.root).Logical().Read("secret/data/x")
	refused(t, err, 503, "Vault is sealed")
	first := value[*api.SealStatusResponse](t)(sys.Unseal(s.shares[0]))
	equal(t, "progress", first.Progress, 1)
	reset := value[*api.SealStatusResponse](t)(sys.ResetUnsealProcess())
	equal(t, "progress after a reset", reset.Progress, 0)
	// Hexadecimal shares are the same shares.
	s.shares[0] = made.Keys[0]
	s.unseal()
}

func status(t *testing.T, root *api.Client) {
	seal := value[*api.SealStatusResponse](t)(root.Sys().SealStatus())
	if seal.Type != "shamir" || seal.T != 3 || seal.N != 5 || seal.Sealed || !seal.Initialized || seal.StorageType != "raft" {
		t.Fatalf("seal status %+v", seal)
	}
	leader := value[*api.LeaderResponse](t)(root.Sys().Leader())
	if !leader.HAEnabled || !leader.IsSelf || leader.LeaderAddress != root.Address() {
		t.Fatalf("leader %+v", leader)
	}
	health := value[*api.HealthResponse](t)(root.Sys().Health())
	if health.Sealed || health.Standby || health.ClusterID != seal.ClusterID || health.ClusterID == "" {
		t.Fatalf("health %+v", health)
	}
	members := value[*api.HAStatusResponse](t)(root.Sys().HAStatus())
	if len(members.Nodes) != 1 || !members.Nodes[0].ActiveNode {
		t.Fatalf("members %+v", members)
	}
	key := value[*api.KeyStatus](t)(root.Sys().KeyStatus())
	must(t, root.Sys().Rotate())
	equal(t, "term after a rotation", value[*api.KeyStatus](t)(root.Sys().KeyStatus()).Term, key.Term+1)
}

func mounts(t *testing.T, root *api.Client) {
	sys := root.Sys()
	must(t, sys.Mount("secret", &api.MountInput{Type: "kv", Description: "the app's", Options: map[string]string{"version": "2"}}))
	err := sys.Mount("secret", &api.MountInput{Type: "kv"})
	refused(t, err, 400, "path is already in use at secret/")
	refused(t, sys.Mount("x", &api.MountInput{Type: "nothing"}), 400, "nothing")
	must(t, sys.Mount("old", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	must(t, root.KVv1("old").Put(context.Background(), "a/b", map[string]any{"k": "v"}))
	must(t, sys.TuneMount("old", api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "2h"}))
	tuned := value[*api.MountConfigOutput](t)(sys.MountConfig("old"))
	equal(t, "tuned default TTL", tuned.DefaultLeaseTTL, 3600)
	must(t, sys.Remount("old", "new"))
	moved := value[*api.KVSecret](t)(root.KVv1("new").Get(context.Background(), "a/b"))
	equal(t, "moved value", moved.Data["k"], any("v"))
	must(t, sys.Unmount("new"))
	// The client makes nothing of a 404 without data.
	gone, err := root.Logical().Read("new/a/b")
	if gone != nil || err != nil {
		t.Fatalf("read below an unmounted path: %v, %v", gone, err)
	}
	_, err = root.Logical().Write("new/a/b", map[string]any{"k": "v"})
	refused(t, err, 404, "no handler for route")
	list := value[map[string]*api.MountOutput](t)(sys.ListMounts())
	for _, path := range []string{"secret/", "cubbyhole/", "identity/", "sys/"} {
		if list[path] == nil {
			t.Fatalf("%s is not mounted: %v", path, list)
		}
	}
	equal(t, "description", list["secret/"].Description, "the app's")
	equal(t, "version", list["secret/"].Options["version"], "2")
}

func versions(t *testing.T, root *api.Client) {
	ctx, kv := context.Background(), root.KVv2("secret")
	_, err := kv.Get(ctx, "database/config")
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatalf("a secret that is not there: %v", err)
	}
	first := value[*api.KVSecret](t)(kv.Put(ctx, "database/config", map[string]any{"username": "app", "password": "s3cr3t"}, api.WithCheckAndSet(0)))
	equal(t, "first version", first.VersionMetadata.Version, 1)
	_, err = kv.Put(ctx, "database/config", map[string]any{"a": "b"}, api.WithCheckAndSet(0))
	refused(t, err, 400, "check-and-set parameter did not match the current version")
	value[*api.KVSecret](t)(kv.Patch(ctx, "database/config", map[string]any{"password": "second"}))
	value[*api.KVSecret](t)(kv.Patch(ctx, "database/config", map[string]any{"password": "third"}, api.WithMergeMethod(api.KVMergeMethodReadWrite)))
	now := value[*api.KVSecret](t)(kv.Get(ctx, "database/config"))
	equal(t, "version", now.VersionMetadata.Version, 3)
	equal(t, "patched", now.Data["password"], any("third"))
	equal(t, "kept", now.Data["username"], any("app"))
	old := value[*api.KVSecret](t)(kv.GetVersion(ctx, "database/config", 1))
	equal(t, "version 1", old.Data["password"], any("s3cr3t"))

	must(t, kv.Delete(ctx, "database/config"))
	gone := value[*api.KVSecret](t)(kv.Get(ctx, "database/config"))
	if gone.Data != nil || gone.VersionMetadata.DeletionTime.IsZero() {
		t.Fatalf("a deleted version: %+v", gone)
	}
	must(t, kv.Undelete(ctx, "database/config", []int{3}))
	must(t, kv.DeleteVersions(ctx, "database/config", []int{1, 2}))
	must(t, kv.Undelete(ctx, "database/config", []int{1, 2}))
	must(t, kv.Destroy(ctx, "database/config", []int{2}))
	back := value[*api.KVSecret](t)(kv.Rollback(ctx, "database/config", 1))
	equal(t, "version after the rollback", back.VersionMetadata.Version, 4)
	equal(t, "rolled back", value[*api.KVSecret](t)(kv.Get(ctx, "database/config")).Data["password"], any("s3cr3t"))
	_, err = kv.Rollback(ctx, "database/config", 2)
	if err == nil {
		t.Fatal("a destroyed version was rolled back to")
	}
	list := value[[]api.KVVersionMetadata](t)(kv.GetVersionsAsList(ctx, "database/config"))
	equal(t, "versions", len(list), 4)
	equal(t, "destroyed", list[1].Destroyed, true)
}

func metadata(t *testing.T, root *api.Client) {
	ctx, kv := context.Background(), root.KVv2("secret")
	must(t, kv.PutMetadata(ctx, "database/config", api.KVMetadataPutInput{MaxVersions: 5, CustomMetadata: map[string]any{"owner": "team"}}))
	casRequired := true
	must(t, kv.PatchMetadata(ctx, "database/config", api.KVMetadataPatchInput{CASRequired: &casRequired, CustomMetadata: map[string]any{"more": "x"}}))
	meta := value[*api.KVMetadata](t)(kv.GetMetadata(ctx, "database/config"))
	equal(t, "max versions", meta.MaxVersions, 5)
	equal(t, "cas required", meta.CASRequired, true)
	equal(t, "owner", meta.CustomMetadata["owner"], any("team"))
	equal(t, "more", meta.CustomMetadata["more"], any("x"))
	_, err := kv.Put(ctx, "database/config", map[string]any{"a": "b"})
	refused(t, err, 400, "check-and-set parameter required for this call")
	value[*api.KVSecret](t)(kv.Put(ctx, "doomed", map[string]any{"a": "b"}))
	must(t, kv.DeleteMetadata(ctx, "doomed"))
	_, err = kv.GetMetadata(ctx, "doomed")
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatalf("metadata of a deleted secret: %v", err)
	}
}

// rawKV is what the CLI's kv commands send below the helpers.
func rawKV(t *testing.T, root *api.Client) {
	logical := root.Logical()
	preflight := value[*api.Secret](t)(logical.Read("sys/internal/ui/mounts/secret/database/config"))
	equal(t, "mount path", preflight.Data["path"], any("secret/"))
	equal(t, "mount version", preflight.Data["options"].(map[string]any)["version"], any("2"))
	big := "12345678901234567890123"
	written := value[*api.Secret](t)(logical.Write("secret/data/numbers", map[string]any{"data": map[string]any{"n": json.Number(big)}}))
	equal(t, "mount type", written.MountType, "kv")
	read := value[*api.Secret](t)(logical.ReadWithData("secret/data/numbers", map[string][]string{"version": {"1"}}))
	equal(t, "a long number", read.Data["data"].(map[string]any)["n"], any(json.Number(big)))
	list := value[*api.Secret](t)(logical.List("secret/metadata/database"))
	equal(t, "names", list.Data["keys"].([]any)[0], any("config"))
	nothing := value[*api.Secret](t)(logical.List("secret/metadata/nowhere"))
	if nothing != nil {
		t.Fatalf("a list of nothing: %+v", nothing)
	}
	must(t, second(logical.Delete("secret/data/numbers")))
	// 404 with data: the client makes a Secret of it.
	gone := value[*api.Secret](t)(logical.Read("secret/data/numbers"))
	if gone == nil || gone.Data["metadata"] == nil || gone.Data["data"] != nil {
		t.Fatalf("a deleted version: %+v", gone)
	}
	must(t, second(logical.Write("secret/undelete/numbers", map[string]any{"versions": []string{"1"}})))
	must(t, second(logical.Write("secret/destroy/numbers", map[string]any{"versions": "1"})))
}

func policies(t *testing.T, s *server, root *api.Client) string {
	sys := root.Sys()
	must(t, sys.PutPolicy("app-policy", appPolicy))
	equal(t, "policy", value[string](t)(sys.GetPolicy("app-policy")), appPolicy)
	names := value[[]string](t)(sys.ListPolicies())
	if !slices.Contains(names, "app-policy") || !slices.Contains(names, "default") || !slices.Contains(names, "root") {
		t.Fatalf("policies %v", names)
	}
	refused(t, sys.PutPolicy("bad", `path "x" { capabilities = ["fly"] }`), 400, "fly")
	refused(t, sys.DeletePolicy("default"), 400, "cannot delete")
	must(t, sys.PutPolicy("short-lived", appPolicy))
	must(t, sys.DeletePolicy("short-lived"))
	equal(t, "a deleted policy", value[string](t)(sys.GetPolicy("short-lived")), "")

	made := value[*api.Secret](t)(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"app-policy"}}))
	app := s.client(made.Auth.ClientToken)
	secret := value[*api.KVSecret](t)(app.KVv2("secret").Get(context.Background(), "database/config"))
	equal(t, "what the app reads", secret.Data["username"], any("app"))
	_, err := app.KVv2("secret").Get(context.Background(), "numbers")
	refused(t, err, 403, "permission denied")
	_, err = app.KVv2("secret").Put(context.Background(), "database/config", map[string]any{"a": "b"})
	refused(t, err, 403, "permission denied")
	_, err = app.Logical().List("secret/metadata/database")
	refused(t, err, 403, "permission denied")
	_, err = app.Sys().ListMounts()
	refused(t, err, 403, "permission denied")

	capabilities := value[[]string](t)(app.Sys().CapabilitiesSelf("secret/data/database/config"))
	equal(t, "own capabilities", strings.Join(capabilities, ","), "read")
	capabilities = value[[]string](t)(sys.Capabilities(app.Token(), "sys/mounts"))
	equal(t, "capabilities", strings.Join(capabilities, ","), "deny")
	capabilities = value[[]string](t)(sys.CapabilitiesAccessor(made.Auth.Accessor, "secret/data/database/x"))
	equal(t, "capabilities by accessor", strings.Join(capabilities, ","), "read")
	return app.Token()
}

func userpass(t *testing.T, s *server, root *api.Client) {
	sys := root.Sys()
	must(t, sys.EnableAuthWithOptions("people", &api.EnableAuthOptions{Type: "userpass", Config: api.AuthConfigInput{DefaultLeaseTTL: "1h"}}))
	must(t, second(root.Logical().Write("auth/people/users/ann", map[string]any{"password": "correct horse", "policies": "app-policy"})))
	ann := s.client("")
	_, err := ann.Logical().Write("auth/people/login/ann", map[string]any{"password": "wrong"})
	refused(t, err, 400, "invalid username or password")
	_, err = ann.Logical().Write("auth/people/login/bob", map[string]any{"password": "wrong"})
	refused(t, err, 400, "invalid username or password")
	login := value[*api.Secret](t)(ann.Logical().Write("auth/people/login/ann", map[string]any{"password": "correct horse"}))
	equal(t, "lease", login.Auth.LeaseDuration, 3600)
	equal(t, "policies", strings.Join(login.Auth.Policies, ","), "app-policy,default")
	equal(t, "metadata", login.Auth.Metadata["username"], "ann")
	again := value[*api.Secret](t)(ann.Logical().Write("auth/people/login/ann", map[string]any{"password": "correct horse"}))
	equal(t, "entity of the second login", again.Auth.EntityID, login.Auth.EntityID)
	ann.SetToken(login.Auth.ClientToken)
	value[*api.KVSecret](t)(ann.KVv2("secret").Get(context.Background(), "database/config"))
	must(t, sys.DisableAuth("people"))
	_, err = ann.Auth().Token().LookupSelf()
	refused(t, err, 403, "permission denied")
}

func tokens(t *testing.T, s *server, root *api.Client) {
	auth := root.Auth().Token()
	made := value[*api.Secret](t)(auth.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h", ExplicitMaxTTL: "2h", DisplayName: "robot", Metadata: map[string]string{"k": "v"}}))
	child := s.client(made.Auth.ClientToken)
	own := value[*api.Secret](t)(child.Auth().Token().LookupSelf())
	equal(t, "display name", own.Data["display_name"], any("token-robot"))
	equal(t, "meta", own.Data["meta"].(map[string]any)["k"], any("v"))
	if _, isNumber := own.Data["ttl"].(json.Number); !isNumber {
		t.Fatalf("ttl %v", own.Data["ttl"])
	}
	renewed := value[*api.Secret](t)(child.Auth().Token().RenewSelf(1800))
	equal(t, "renewed", renewed.Auth.LeaseDuration, 1800)
	value[*api.Secret](t)(auth.RenewAccessor(made.Auth.Accessor, 60))
	byAccessor := value[*api.Secret](t)(auth.LookupAccessor(made.Auth.Accessor))
	equal(t, "the token by its accessor", byAccessor.Data["id"], any(""))

	value[*api.Secret](t)(auth.Lookup(made.Auth.ClientToken))
	must(t, auth.RevokeAccessor(made.Auth.Accessor))
	_, err := child.Auth().Token().LookupSelf()
	refused(t, err, 403, "invalid token")

	must(t, root.Sys().PutPolicy("parent", `path "auth/token/create" { capabilities = ["update"] }`))
	parent := value[*api.Secret](t)(auth.CreateOrphan(&api.TokenCreateRequest{Policies: []string{"parent"}}))
	grown := value[*api.Secret](t)(s.client(parent.Auth.ClientToken).Auth().Token().Create(&api.TokenCreateRequest{}))
	_, err = s.client(parent.Auth.ClientToken).Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"root"}})
	if err == nil {
		t.Fatal("a child has more than its parent")
	}
	must(t, s.client(parent.Auth.ClientToken).Auth().Token().RevokeSelf(""))
	_, err = s.client(grown.Auth.ClientToken).Auth().Token().LookupSelf()
	refused(t, err, 403, "permission denied")

	once := value[*api.Secret](t)(auth.Create(&api.TokenCreateRequest{Policies: []string{"default"}, NumUses: 1}))
	value[*api.Secret](t)(s.client(once.Auth.ClientToken).Auth().Token().LookupSelf())
	_, err = s.client(once.Auth.ClientToken).Auth().Token().LookupSelf()
	refused(t, err, 403, "permission denied")

	batch := value[*api.Secret](t)(auth.Create(&api.TokenCreateRequest{Policies: []string{"app-policy"}, Type: "batch", TTL: "10m"}))
	value[*api.KVSecret](t)(s.client(batch.Auth.ClientToken).KVv2("secret").Get(context.Background(), "database/config"))
}

func wrapping(t *testing.T, s *server, root *api.Client) {
	wrapper := s.client(s.root)
	wrapper.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped := value[*api.Secret](t)(wrapper.Logical().Read("secret/data/database/config"))
	if wrapped.WrapInfo == nil || wrapped.Data != nil || wrapped.WrapInfo.TTL != 300 || wrapped.WrapInfo.CreationPath != "secret/data/database/config" {
		t.Fatalf("wrapped %+v", wrapped)
	}
	info := value[*api.Secret](t)(root.Logical().Write("sys/wrapping/lookup", map[string]any{"token": wrapped.WrapInfo.Token}))
	equal(t, "creation path", info.Data["creation_path"], any("secret/data/database/config"))
	turned := value[*api.Secret](t)(root.Logical().Write("sys/wrapping/rewrap", map[string]any{"token": wrapped.WrapInfo.Token}))
	opened := value[*api.Secret](t)(s.client("").Logical().Unwrap(turned.WrapInfo.Token))
	equal(t, "unwrapped", opened.Data["data"].(map[string]any)["username"], any("app"))
	for _, used := range []string{wrapped.WrapInfo.Token, turned.WrapInfo.Token} {
		_, err := root.Logical().Unwrap(used)
		refused(t, err, 400, "wrapping token is not valid or does not exist")
	}
}

func audit(t *testing.T, s *server, root *api.Client) {
	sys, path := root.Sys(), filepath.Join(s.dir, "audit.log")
	must(t, sys.EnableAuditWithOptions("file", &api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": path}}))
	list := value[map[string]*api.Audit](t)(sys.ListAudit())
	equal(t, "audit type", list["file/"].Type, "file")
	value[*api.KVSecret](t)(root.KVv2("secret").Get(context.Background(), "database/config"))
	hash := value[string](t)(sys.AuditHash("file", "s3cr3t"))
	line := string(value[[]byte](t)(os.ReadFile(path)))
	if !strings.HasPrefix(hash, "hmac-sha256:") || !strings.Contains(line, hash) {
		t.Fatalf("the hash %s is not in the audit file", hash)
	}
	if strings.Contains(line, "s3cr3t") || strings.Contains(line, s.root) {
		t.Fatal("the audit file holds a secret")
	}
}

func raft(t *testing.T, root *api.Client) {
	configuration := value[*api.Secret](t)(root.Logical().Read("sys/storage/raft/configuration"))
	servers := configuration.Data["config"].(map[string]any)["servers"].([]any)
	first := servers[0].(map[string]any)
	equal(t, "servers", len(servers), 1)
	equal(t, "node", first["node_id"], any("node1"))
	equal(t, "leads", first["leader"], any(true))
	state := value[*api.AutopilotState](t)(root.Sys().RaftAutopilotState())
	equal(t, "healthy", state.Healthy, true)
	value[*api.AutopilotConfig](t)(root.Sys().RaftAutopilotConfiguration())

	// The client itself fails unless it saw sealed sums in the stream.
	var file bytes.Buffer
	must(t, root.Sys().RaftSnapshot(&file))
	unzipped := value[*gzip.Reader](t)(gzip.NewReader(bytes.NewReader(file.Bytes())))
	archive, names := tar.NewReader(unzipped), []string{}
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, entry.Name)
		content := value[[]byte](t)(io.ReadAll(archive))
		for _, name := range []string{"database", "app-policy", "s3cr3t"} {
			if bytes.Contains(content, []byte(name)) {
				t.Fatalf("%s stands readable in %s of a snapshot", name, entry.Name)
			}
		}
	}
	equal(t, "files", strings.Join(names, " "), "meta.json state.bin SHA256SUMS SHA256SUMS.sealed")
}

func afterACrash(t *testing.T, s *server, appToken string) {
	s.kill()
	if found := readable(t, filepath.Join(s.dir, "data"), "database", "app-policy", "s3cr3t", "audit.log", s.root, appToken); found != nil {
		t.Fatalf("readable at rest: %v", found)
	}
	s.start()
	seal := value[*api.SealStatusResponse](t)(s.client("").Sys().SealStatus())
	if !seal.Initialized || !seal.Sealed {
		t.Fatalf("after a crash: %+v", seal)
	}
	s.unseal()
	app := s.client(appToken)
	kv := app.KVv2("secret")
	secret := value[*api.KVSecret](t)(kv.Get(context.Background(), "database/config"))
	equal(t, "version after a crash", secret.VersionMetadata.Version, 4)
	equal(t, "secret after a crash", secret.Data["password"], any("s3cr3t"))
	root := s.client(s.root)
	equal(t, "policy after a crash", value[string](t)(root.Sys().GetPolicy("app-policy")), appPolicy)
	if value[map[string]*api.Audit](t)(root.Sys().ListAudit())["file/"] == nil {
		t.Fatal("the audit device is gone after a crash")
	}
	must(t, root.Sys().Seal())
	_, err := kv.Get(context.Background(), "database/config")
	refused(t, err, 503, "Vault is sealed")
}

func second[T any](_ T, err error) error { return err }
