#!/usr/bin/env bash
# Writes requirements/*.txt from pyproject.toml and build.in; called by `make lock`, which sets UV.
# Arguments go to every resolution (--upgrade).
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() {
  # One resolution for every platform and Python that pyproject.toml allows, with markers where
  # they differ; no address of an index is written. pandas, pyarrow and numpy are left out: see
  # requirements/README.md.
  "$UV" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --annotation-style line \
    --no-emit-package pandas --no-emit-package pyarrow --no-emit-package numpy "$@"
}

# dev.txt contains all of them; the others are held to its versions.
resolve "$@" pyproject.toml --all-extras -o requirements/dev.txt
resolve "$@" pyproject.toml -c requirements/dev.txt -o requirements/base.txt
resolve "$@" pyproject.toml --extra embedded -c requirements/dev.txt -o requirements/embedded.txt
resolve "$@" requirements/build.in -c requirements/dev.txt -o requirements/build.txt
