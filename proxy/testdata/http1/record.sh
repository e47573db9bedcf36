#!/bin/sh
# Writes differential.txt: what nginx, Node and Go's net/http make of the requests in requests.txt.
# Needs nginx, node and go; everything stays on loopback and in a directory that is removed at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/record/main.go" "$work/"
(cd "$work" && go mod init recorder >/dev/null 2>&1 && go build -o go-server .)
node "$here/record/record.mjs" "$here/requests.txt" "$work" > "$work/differential.txt"
mv "$work/differential.txt" "$here/differential.txt"
