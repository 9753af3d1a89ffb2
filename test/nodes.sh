#!/usr/bin/env bash
# Runs the tests that Node's version could matter to on other versions of it: `nodes.sh VERSION...`, of those that
# test/programs/nodes brings. The control processes, workers and commands of a test run on the Node that runs the test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
files=(
  test/sys
  test/api
  test/control
  test/engine/arming.test.ts
  test/cli/doctor.test.ts
  test/cli/run.test.ts
  test/lab/shape.test.ts
  test/lab/gather.test.ts
)
for version in "$@"; do
  node=test/programs/nodes/node_modules/node-$version-$(node -p process.arch)/bin/node
  [[ -x $node ]] || { echo "nodes: there is no $node: run .ci/setup nodes" >&2; exit 1; }
  echo "nodes: $("$node" --version)"
  "$node" node_modules/vitest/vitest.mjs run --project suite "${files[@]}"
done
