// doctest's implementation, compiled once. Run one test with: build/tests/hone_tests -tc="name*"
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
