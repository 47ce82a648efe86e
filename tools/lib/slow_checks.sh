# What tools/test --slow checks beyond the unit tests of the fast tier. One function a check; see checks.sh.
# shellcheck shell=bash disable=SC2164,SC2034  # callers set -e; some names are for callers

WARNINGS=(-Wall -Wextra -Wconversion -Wshadow -Werror)
STD=(-std=c++20)
ROOTS=(-I"$HONE_ROOT/include" -I"$HONE_ROOT/cuda")
COMPILE=$HONE_ROOT/tests/compile
SCRATCH=$HONE_BUILD/checks

# Empties and names a folder for a check's files.
scratch() {
  rm -rf "${SCRATCH:?}/$1"
  mkdir -p "$SCRATCH/$1"
  say "$SCRATCH/$1"
}

# compile_each LIST COMMAND...: runs the command with each line of the file LIST as its last argument, HONE_JOBS at a
# time, and fails when one of them does.
compile_each() {
  local list=$1
  shift
  xargs -r -a "$list" -P "$HONE_JOBS" -n 1 "$@"
}

# ---- text ---------------------------------------------------------------------------------------------------------

slow_layers() {
  "$HONE_ROOT/tools/check_layers.py"
  "$HONE_ROOT/tools/check_layers.py" --self-test
}

# clang-format 14 is the one whose line breaks are kept; another version breaks some lines elsewhere.
slow_format() {
  command -v clang-format >/dev/null || skip "clang-format is not installed"
  clang-format --version | grep -q ' version 14\.' || skip "clang-format is not version 14"
  cd "$HONE_ROOT"
  find include cuda compiled tests tools/hone examples bench \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' \) \
    -print0 | xargs -0 clang-format --dry-run -Werror
}

slow_umbrellas() { "$HONE_ROOT/tools/sync.py" --check; }

# The generator of examples/data still gives the bytes that were recorded.
slow_data() { python3 "$HONE_ROOT/examples/data/make_data.py" --check; }

slow_converters() { "$HONE_ROOT/tests/tools/converters.py"; }

# What docs/emulator.md shows is what its commands print, those of gdb too.
slow_emulator_page() { "$HONE_ROOT/tests/tools/emulator_page.py"; }

slow_shellcheck() {
  command -v shellcheck >/dev/null || skip "shellcheck is not installed"
  cd "$HONE_ROOT"
  shellcheck -x .ci/run tools/test tools/quickstart tools/fetch_real tools/gpu_check tools/lib/*.sh tests/compile/*.sh
}

# ---- headers ------------------------------------------------------------------------------------------------------

# One translation unit a header, which includes it twice and nothing else: it brings what it needs, and may come again.
# HONE_COMPILED leaves out what every plan instantiates, which `odr` compiles.
slow_headers() {
  local folder header
  folder=$(scratch headers)
  cd "$HONE_ROOT"
  while IFS= read -r header; do
    local name=${header#*/}
    printf '#include <%s>\n#include <%s>\n' "$name" "$name" >"$folder/${name//\//__}.cpp"
  done < <(find include/hone cuda/hone \( -name '*.hpp' -o -name '*.cuh' \) ! -name '*_cuda.cuh' \
    ! -name cublaslt.cuh ! -name cuda_kernels.cuh | sort)  # those: nvcc only
  find "$folder" -name '*.cpp' | sort >"$folder/list"
  say "$(wc -l <"$folder/list") headers"
  compile_each "$folder/list" g++ "${STD[@]}" -fsyntax-only -DHONE_COMPILED=1 "${WARNINGS[@]}" "${ROOTS[@]}"
}

# Two translation units that include everything, linked: a function in a header that is not inline is defined twice.
slow_odr() {
  local folder unit
  folder=$(scratch odr)
  for unit in one two main; do
    printf '%s\n' "$COMPILE/odr/$unit.cpp" >>"$folder/list"
  done
  cd "$folder"
  compile_each list g++ "${STD[@]}" -O0 -c "${WARNINGS[@]}" "${ROOTS[@]}"
  g++ one.o two.o main.o -o odr -lpcre2-8 -lutf8proc -lxxhash -lpthread
  ./odr
}

# The same computation in two translation units with different -march, linked in both orders. The linker keeps one copy
# of an inline function; if a macro of the compiler's chose its body, the answer would depend on the order. Contraction
# of a * b + c is the compiler's own choice by -march, not a body's, and is switched off.
slow_march() {
  [[ $(uname -m) == x86_64 ]] || skip "this is not an x86-64 machine"
  grep -qw avx2 /proc/cpuinfo || skip "this processor has no AVX2"
  local folder level=x86-64-v3
  folder=$(scratch march)
  grep -qw avx512vl /proc/cpuinfo && level=x86-64-v4
  cd "$folder"
  local compile=(g++ "${STD[@]}" -O2 -ffp-contract=off "${WARNINGS[@]}" "${ROOTS[@]}")
  "${compile[@]}" -march=x86-64 -DHONE_WORK=narrow_work -c "$COMPILE/march/work.cpp" -o narrow.o &
  local first=$!
  "${compile[@]}" -march=$level -DHONE_WORK=wide_work -c "$COMPILE/march/work.cpp" -o wide.o
  wait "$first"
  "${compile[@]}" -c "$COMPILE/march/main.cpp" -o main.o
  g++ main.o narrow.o wide.o -o narrow_first -lpthread
  g++ main.o wide.o narrow.o -o wide_first -lpthread
  ./narrow_first >narrow_first.txt
  ./wide_first >wide_first.txt
  cat narrow_first.txt
  cmp narrow_first.txt wide_first.txt
}

# ---- snippets -----------------------------------------------------------------------------------------------------

# Each snippet must be refused with the words of its `// expect:` lines in the error, and must compile with -DFIXED: the
# mistake is the only thing wrong with it.
slow_must_fail() {
  local folder snippet compiler words wrong=0
  folder=$(scratch must_fail)
  for snippet in "$COMPILE"/must_fail/*.cpp; do
    grep -q '^// expect: ' "$snippet" || die "$snippet: no line '// expect: text'"
    for compiler in g++ clang++; do
      command -v "$compiler" >/dev/null || continue
      if "$compiler" "${STD[@]}" -fsyntax-only "${ROOTS[@]}" "$snippet" 2>"$folder/error"; then
        say "$snippet: $compiler accepts it"
        wrong=1
      fi
      while IFS= read -r words; do
        grep -qF -- "$words" "$folder/error" && continue
        say "$snippet: the error of $compiler does not say: $words"
        head -n 20 "$folder/error"
        wrong=1
      done < <(sed -n 's|^// expect: ||p' "$snippet")
    done
    if ! g++ "${STD[@]}" -fsyntax-only "${WARNINGS[@]}" "${ROOTS[@]}" -DFIXED "$snippet"; then
      say "$snippet: does not compile with -DFIXED"
      wrong=1
    fi
    say "seen: ${snippet##*/}"
  done
  return $wrong
}

# The program of the README, compiled as a stranger would.
slow_ten_lines() {
  sed -n '/^#include <hone\/hone.hpp>$/,/^```$/p' "$HONE_ROOT/README.md" | sed '$d' | diff - "$COMPILE/ten_lines.cpp"
  g++ "${STD[@]}" -fsyntax-only "${WARNINGS[@]}" -I"$HONE_ROOT/include" "$COMPILE/ten_lines.cpp"
  clang++ "${STD[@]}" -fsyntax-only "${WARNINGS[@]}" -I"$HONE_ROOT/include" "$COMPILE/ten_lines.cpp"
}

# tools/new_op.py on a copy of the tree: what it stamps out compiles, fails its gradcheck, and passes once filled in.
slow_new_op() { "$COMPILE/new_op.sh" "$(scratch new_op)"; }

# ---- use from outside ---------------------------------------------------------------------------------------------

# The g++ line that stands in the example's own comment, run as it stands. It must reach no file of io or text, and the
# program must link nothing but the language's run time.
slow_drop_in_bare() {
  local folder line
  folder=$(scratch drop_in_bare)
  line=$(sed -n 's|^//  *\(g++ .*\)$|\1|p' "$HONE_ROOT/examples/drop_in/main.cpp" | head -n 1)
  [[ -n $line ]] || die "examples/drop_in/main.cpp names no g++ line"
  cp -r "$HONE_ROOT/examples/drop_in/." "$folder"
  cd "$folder"
  say "$line"
  HONE=$HONE_ROOT bash -c "$line -MD -MF reached.txt"
  if grep -E 'hone/(io|text|models|infer|eval|train)/|nlohmann|pcre2|utf8proc|xxhash' reached.txt; then
    die "the engine reaches files or text"
  fi
  if ldd ./drop_in | grep -vE 'linux-vdso|libstdc\+\+|libgcc_s|libc\.so|libm\.so|ld-linux'; then
    die "the engine made the program link a library"
  fi
  ./drop_in
}

slow_drop_in_cmake() {
  local folder
  folder=$(scratch drop_in_cmake)
  cmake -S "$HONE_ROOT/examples/drop_in" -B "$folder" -G Ninja -DHONE_SOURCE="$HONE_ROOT"
  cmake --build "$folder"
  "$folder/drop_in"
}

# cmake --install, then a project that says find_package(hone COMPONENTS engine hone), then one that asks for a component
# that does not exist and must be told so.
slow_install() {
  local folder
  folder=$(scratch install)
  cmake -S "$HONE_ROOT" -B "$folder/build" -G Ninja -DHONE_BUILD_TESTS=OFF -DHONE_BUILD_CLI=OFF -DHONE_BUILD_EXAMPLES=OFF \
    -DHONE_BUILD_BENCH=OFF -DHONE_COMPONENTS="engine;hone;emu;cuda;dist" -DCMAKE_INSTALL_PREFIX="$folder/prefix"
  cmake --install "$folder/build" >"$folder/installed.txt"
  cmake -S "$COMPILE/consumer" -B "$folder/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" \
    -DCMAKE_CXX_FLAGS="${WARNINGS[*]}"
  cmake --build "$folder/consumer"
  "$folder/consumer/uses_engine"
  "$folder/consumer/uses_files"
  if cmake -S "$COMPILE/consumer" -B "$folder/refused" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" \
    -DEXTRA_COMPONENT=nonsense >"$folder/refused.txt" 2>&1; then
    die "find_package accepted the component 'nonsense'"
  fi
  grep -q "no component 'nonsense'" "$folder/refused.txt"
}

# ---- other compilers and machines ---------------------------------------------------------------------------------

# Sets NVCC, or skips the check where none is new enough.
find_nvcc() {
  local version
  NVCC=$(command -v nvcc || true)
  [[ -n $NVCC ]] || NVCC=/usr/local/cuda/bin/nvcc
  [[ -x $NVCC ]] || skip "nvcc is not installed; CUDA kernels were compiled for the emulator only"
  read -r -a version < <("$NVCC" --version | sed -n 's/.*release \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  ((version[0] > 12 || (version[0] == 12 && version[1] >= 4))) ||
    skip "nvcc is ${version[0]}.${version[1]}, older than 12.4; CUDA kernels were compiled for the emulator only"
}

# The primitives that no kernel uses, compiled by nvcc and not run.
slow_nvcc() {
  local folder part
  find_nvcc
  folder=$(scratch nvcc)
  cd "$HONE_ROOT/cuda"
  for part in 80:prim_check 90a:prim_check; do
    printf '%s\n' "-arch=sm_${part%:*} ${part#*:}.cu -o $folder/${part/:/_}.o"
  done >"$folder/list"
  xargs -a "$folder/list" -P "$HONE_JOBS" -L 1 "$NVCC" -std=c++20 "${ROOTS[@]}" -Werror all-warnings -c
}

# The CUDA kernels in every type they are offered in, each in its own translation unit, for the oldest and the newest
# card: warnings are errors, no local memory, registers at most the committed number, 16-byte accesses and tensor cores
# where they are demanded. A kernel header that no file of cuda/compile includes would go unseen, so each must be named
# there or in a header that is.
slow_kernel_guards() {
  local header
  find_nvcc
  cd "$HONE_ROOT/cuda"
  for header in hone/kernels/*.cuh; do
    grep -rqF --exclude=kernels.cuh "<$header>" compile hone || die "no file includes <$header>: give it a file in cuda/compile"
  done
  "$HONE_ROOT/tools/kernel_resources.py" --self-test
  "$HONE_ROOT/tools/kernel_resources.py" --check --jobs "$HONE_JOBS"
}

# The nvcc line that stands in the drop-in example for a card: the whole engine through nvcc, linked. Not optimised, which
# takes three times as long. Where there is no card the program has to say so.
slow_drop_in_cuda() {
  local folder line output
  find_nvcc
  folder=$(scratch drop_in_cuda)
  line=$(sed -n 's|^//  *nvcc \(.*\)$|\1|p' "$HONE_ROOT/examples/drop_in/cuda.cu" | head -n 1)
  [[ -n $line ]] || die "examples/drop_in/cuda.cu names no nvcc line"
  line=${line/-O3 -arch=native/-O1 -Xcicc -O0 -Xptxas -O0 -Werror all-warnings -arch=sm_80}
  cp "$HONE_ROOT/examples/drop_in/cuda.cu" "$folder"
  cd "$folder"
  say "$NVCC $line"
  HONE=$HONE_ROOT bash -c "$NVCC $line"
  output=$(./drop_in_cuda) || [[ $output == "[cuda] "* ]] || die "neither trained nor said why not: $output"
  say "$output"
}

# Tensors on another processor: cross-compiled and run under qemu. Third-party headers are copied to a folder of their
# own, because the host's /usr/include does not fit the other machine.
AARCH64_FOLDERS=(core memory tensor autograd optim)
AARCH64_OPS=(arithmetic compare creation gather layout matmul reduce softmax unary)
slow_aarch64() {
  local cross=aarch64-linux-gnu-g++ folder part
  command -v $cross >/dev/null || skip "$cross is not installed"
  command -v qemu-aarch64 >/dev/null || skip "qemu-aarch64 is not installed"
  folder=$(scratch aarch64)
  mkdir -p "$folder/include"
  cp -r /usr/include/fmt /usr/include/doctest "$folder/include"
  printf '%s\n' "$HONE_ROOT/tests/main.cpp" >"$folder/list"
  for part in "${AARCH64_FOLDERS[@]}"; do
    find "$HONE_ROOT/tests/$part" -name 'test_*.cpp' 2>/dev/null | sort >>"$folder/list"
  done
  printf "$HONE_ROOT/tests/ops/test_%s.cpp\n" "${AARCH64_OPS[@]}" >>"$folder/list"
  cd "$folder"
  compile_each list $cross "${STD[@]}" -O1 "${WARNINGS[@]}" -I"$HONE_ROOT/include" -I"$HONE_ROOT/tests" \
    -isystem "$folder/include" -DHONE_SOURCE_DIR="\"$HONE_ROOT\"" -c
  $cross -static ./*.o -o tensor_tests -lpthread
  "$HONE_ROOT/tools/lib/run_tests.py" --program "qemu-aarch64 ./tensor_tests" --jobs "$HONE_JOBS" -tse="slow*"
  $cross "${STD[@]}" -O1 "${WARNINGS[@]}" -I"$HONE_ROOT/include" -isystem "$folder/include" -static \
    "$HONE_ROOT/examples/drop_in/main.cpp" -o drop_in -lpthread
  qemu-aarch64 ./drop_in
}

# clang 14 builds the unit tests with AddressSanitizer and UndefinedBehaviorSanitizer: one build shows that the second
# compiler takes everything and lets the sanitizers see every test. Unoptimised: what the sanitizers add takes clang three
# times as long to optimise as the tests gain by it.
slow_clang() {
  command -v clang++ >/dev/null || skip "clang++ is not installed"
  configure "$HONE_BUILD/asan" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=None -DHONE_SANITIZE=ON \
    "-DHONE_TEST_FLAGS=-O0;-g1" -DHONE_BUILD_CLI=OFF -DHONE_BUILD_EXAMPLES=OFF -DHONE_BUILD_BENCH=OFF \
    "-DHONE_COMPONENTS=engine;hone;emu;cuda;dist"
  build "$HONE_BUILD/asan" hone_tests
}

slow_sanitizers() {
  [[ -x $HONE_BUILD/asan/tests/hone_tests ]] || skip "there is no clang build of the tests"
  cd "$HONE_ROOT"
  export ASAN_OPTIONS=strict_string_checks=1:check_initialization_order=1 UBSAN_OPTIONS=print_stacktrace=1
  tools/lib/run_tests.py --program "$HONE_BUILD/asan/tests/hone_tests" --jobs "$HONE_JOBS" -tse="slow*"
}

# The memory plan against what the kernel says the program holds and asks for.
slow_witness() {
  [[ -x $HONE_BUILD/hone ]] || { configure "$HONE_BUILD" && build "$HONE_BUILD" hone_cli; }
  "$HONE_ROOT/tests/witness/check_memory.py" --program "$HONE_BUILD/hone" --counts "$CHECK_COUNTS" \
    --skips "$CHECK_SKIP_LIST"
}

# Tests of a suite called slow, from the fast tier's own build.
slow_long_runs() {
  [[ -x $HONE_BUILD/tests/hone_tests ]] || { configure "$HONE_BUILD" && build "$HONE_BUILD" hone_tests; }
  cd "$HONE_ROOT"
  "$HONE_BUILD/tests/hone_tests" --count -ts="slow*" | grep -q ': 0$' && skip "no test belongs to a suite called slow"
  tools/lib/run_tests.py --program "$HONE_BUILD/tests/hone_tests" --jobs "$HONE_JOBS" --limit 1800 \
    --counts "$CHECK_COUNTS" --skips "$CHECK_SKIP_LIST" -ts="slow*"
}

SLOW_CHECKS=(layers umbrellas format data converters emulator_page shellcheck headers must_fail ten_lines new_op odr march
  drop_in_bare drop_in_cmake install nvcc kernel_guards drop_in_cuda aarch64 clang sanitizers witness long_runs)
