# One node with data on disk, speaking TLS itself. SIGHUP reads the files anew.
storage "raft" {
  path    = "/var/lib/strongroom"
  node_id = "node1"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/strongroom/tls.crt"
  tls_key_file  = "/etc/strongroom/tls.key"
}

api_addr     = "https://strongroom.example.com:8200"
cluster_addr = "https://strongroom.example.com:8201"
log_level    = "info"
