# For trying things out on one machine: in memory, without TLS. Everything is gone when the server stops.
storage "inmem" {}

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

api_addr = "http://127.0.0.1:8200"
