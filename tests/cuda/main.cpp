// The main program of hone_cuda_tests: without a card there is nothing to test, and it says why.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <hone/cuda.hpp>

#include <cstdio>

int main(int count, char** arguments) {
  doctest::Context context(count, arguments);
  try {
    hone::find_card();
  } catch (const hone::Error& error) {
    constexpr int skipped = 77;
    std::printf("skipped: %s\n", error.what());
    return skipped;
  }
  return context.run();
}
