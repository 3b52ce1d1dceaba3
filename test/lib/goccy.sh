#!/usr/bin/env bash
# Builds goccy's BigQuery emulator, for its analyser of GoogleSQL: half an hour on one processor, 6 GB of memory.
#
#   goccy.sh DIR    makes DIR/bigquery-emulator
set -eu
dir=${1:?a folder}
mkdir -p "$dir"
cd "$dir"
printf 'module peer\n\ngo 1.25.0\n\nrequire github.com/goccy/bigquery-emulator v0.8.1\n' > go.mod
printf '//go:build tools\n\npackage peer\n\nimport _ "github.com/goccy/bigquery-emulator/cmd/bigquery-emulator"\n' > tools.go
CGO_ENABLED=0 GOFLAGS='-p=1 -mod=mod' nice -n 10 go build -o bigquery-emulator \
    github.com/goccy/bigquery-emulator/cmd/bigquery-emulator
