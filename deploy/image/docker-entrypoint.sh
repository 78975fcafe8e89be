#!/bin/sh
# What the official chart calls: `docker-entrypoint.sh vault server -config=…`. Also a bare `server …`, and a configuration in
# VAULT_LOCAL_CONFIG. The container is not root: there is nothing to chown and no user to change to.
set -e
if [ -n "$VAULT_LOCAL_CONFIG" ]; then
  printf '%s' "$VAULT_LOCAL_CONFIG" > /vault/config/local.json
fi
case "$1" in
  vault) shift ;;
  server | agent | injector | status | operator | version | -*) ;;
  *) exec "$@" ;;
esac
if [ "$1" = server ]; then
  shift
  for word in "$@"; do
    case "$word" in -config* | -dev*) exec vault server "$@" ;; esac
  done
  exec vault server -config=/vault/config "$@"
fi
exec vault "$@"
