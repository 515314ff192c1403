#!/usr/bin/env bash
# The causal model's suite by name; see tests/README.md. Uses the project's environment if `make setup-dev` made one.
set -euo pipefail
cd "$(dirname "$0")/.."
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
suite=tests/test_causal_wan_model.py

run() {
  "$python" -c 'import pytest' 2> /dev/null || { echo "error: $python has no pytest: make setup-dev installs it" >&2; exit 2; }
  "$python" -m pytest -p no:cacheprovider -v -s "$@"
}

case "${1:-help}" in
  benchmark)   run "$suite::TestCausalWanModel::test_performance_benchmark" ;;
  correctness) run "$suite::TestCausalWanModel::test_forward_correctness" "$suite::TestCausalWanModel::test_forward_with_kv_cache" ;;
  compare)     run "$suite::TestCausalWanModel::test_model_comparison" ;;
  all)         run "$suite" ;;
  help|-h|--help)
    cat <<'TEXT'
usage: tests/run_tests.sh COMMAND
  benchmark    time the reference and the optimized model; writes tests/baseline_performance.txt
  correctness  the forward without and with the official caches
  compare      the optimized model against the reference
  all          all of these
On a GPU: released size, random weights (or MODEL_CHECKPOINT_PATH=base_distill.safetensors). On a CPU: a small one.
TEXT
    ;;
  *) echo "error: unknown command '$1'; one of benchmark, correctness, compare, all, help" >&2; exit 2 ;;
esac
