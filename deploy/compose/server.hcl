# All three nodes use this file; what differs comes from the environment (docker-compose.yml): node id and addresses.
ui = true

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/tls/node.pem"
  tls_key_file    = "/tls/node.key"
}

storage "raft" {
  path = "/data"

  retry_join {
    leader_api_addr     = "https://node-1:8200"
    leader_ca_cert_file = "/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://node-2:8200"
    leader_ca_cert_file = "/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://node-3:8200"
    leader_ca_cert_file = "/tls/ca.pem"
  }
}
