#!/usr/bin/env bash
# tools/new_op.py gelu on a copy of the tree: what it stamps compiles, its gradcheck fails, and passes once the formulas
# stand in the places that the comments name. A refused name must leave nothing behind.
#   tests/compile/new_op.sh FOLDER      (FOLDER is emptied)
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FOLDER=$1
COMPILE=(g++ -std=c++20 -O0 -Wall -Wextra -Wconversion -Wshadow -Werror -Iinclude -Icuda -Itests)

die() {
  printf 'new_op: %s\n' "$*" >&2
  exit 1
}

copy_tree() {
  rm -rf "${FOLDER:?}"
  mkdir -p "$FOLDER"
  git -C "$ROOT" ls-files -z .clang-format include cuda tools tests/main.cpp tests/support tests/ops \
    tests/kernels/every_device.hpp |
    (cd "$ROOT" && xargs -0 cp --parents -t "$FOLDER")
  mkdir -p "$FOLDER/tests/kernels"
  cd "$FOLDER"
}

build() {
  "${COMPILE[@]}" -c tests/ops/test_gelu.cpp -o test_op.o &
  local first=$!
  "${COMPILE[@]}" -c tests/kernels/test_gelu.cpp -o test_kernel.o
  wait "$first"
  g++ main.o test_op.o test_kernel.o -o gelu_tests -lboost_context -pthread
}

# fill_in FILE NAME BODY: puts BODY in the place of what NAME returns, on its first line or the one after.
fill_in() {
  sed -i "/ $2(/ { s|return .*;|return $3;|; t; n; s|return .*;|return $3;| }" "$1"
  grep -qF "return $3;" "$1" || die "$1 has no place for $2"
}

copy_tree
for name in Gelu swiglu relu class a__b; do
  if tools/new_op.py "$name" >said.txt 2>&1; then die "the name $name was accepted"; fi
  grep -q '^new_op: ' said.txt || die "the refusal of $name has no message"
done
tools/new_op.py gelu
tools/sync.py --check
grep -qx '#include <hone/ops/gelu.hpp>' include/hone/engine.hpp || die "the umbrella does not name the op"
if tools/new_op.py gelu >/dev/null 2>&1; then die "a second gelu was accepted"; fi

"${COMPILE[@]}" -c tests/main.cpp -o main.o
build
if ./gelu_tests -tc="gelu: backward is the derivative of forward" >said.txt 2>&1; then
  die "gradcheck passes before the derivative is written"
fi
grep -q 'gradcheck' said.txt || die "the failure is not gradcheck's"
if ./gelu_tests -tc="gelu: values" >/dev/null 2>&1; then die "the values pass before the formula is written"; fi

# y = x Phi(x) with the error function; dy/dx = Phi(x) + x phi(x)         (Hendrycks and Gimpel, 2016)
fill_in include/hone/cpu/gelu.hpp gelu_of 'x * (1 + std::erf(x * S(0.70710678118654752))) / 2'
fill_in include/hone/cpu/gelu.hpp gelu_gradient \
  'dy * ((1 + std::erf(x * S(0.70710678118654752))) / 2 + x * S(0.39894228040143268) * std::exp(-x * x / 2))'
fill_in cuda/hone/kernels/gelu.cuh gelu_of 'x * (1 + erff(x * 0.70710678f)) / 2'
fill_in cuda/hone/kernels/gelu.cuh gelu_gradient \
  'dy * ((1 + erff(x * 0.70710678f)) / 2 + x * 0.39894228f * expf(-x * x / 2))'
fill_in tests/ops/test_gelu.cpp reference '0.5 * x * std::erfc(-x / std::sqrt(2.0))'
build
./gelu_tests
