#include <hone/hone.hpp>

#include <cstdio>

int main() {
  try {
    hone::read_file("/no/such/file");
  } catch (const hone::Error& error) {
    std::puts(error.what());
    return 0;
  }
  return 1;
}
