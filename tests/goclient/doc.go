// Package goclient drives the built server with github.com/hashicorp/vault/api, the Go client that Vault's own CLI, operators and
// most Kubernetes tools are made with. Only tests live here.
package goclient
