#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, where they are not there yet. What is there stays:
# the servers keep the passwords that they were first started with.
#
#   sh deploy/compose/secrets.sh             into deploy/secrets
#   sh deploy/compose/secrets.sh DIRECTORY   into another one
set -eu

directory=${1:-"$(dirname "$0")/../secrets"}

# Only their owner comes into the directory. The files in it can be read by everybody, because each
# container mounts its own ones alone and reads them as a user that is nobody on this machine.
mkdir -p "$directory"
chmod 0700 "$directory"

for name in clickhouse_password hop_secret grafana_password grafana_reader_password; do
  file=$directory/$name
  if [ ! -s "$file" ]; then
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file.new"
    chmod 0444 "$file.new"
    mv "$file.new" "$file"
    echo "made $file" >&2
  fi
done
