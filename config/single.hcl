# One node with data on disk, behind something that ends TLS (or on loopback).
ui            = false
disable_mlock = true # accepted as Vault's files have it; means nothing here

storage "raft" {
  path    = "./data"
  node_id = "node1"
}

listener "tcp" {
  address         = "127.0.0.1:8200"
  cluster_address = "127.0.0.1:8201"
  tls_disable     = true
}

api_addr     = "http://127.0.0.1:8200"
cluster_addr = "https://127.0.0.1:8201"

default_lease_ttl = "768h"
max_lease_ttl     = "768h"

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}
