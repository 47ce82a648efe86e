// Both units linked: every header function is defined once, and state is shared, not doubled.
#include <cstdio>

const void* shared_state_one();
const void* shared_state_two();
const void* shared_function_one();
const void* shared_function_two();

int main() {
  const bool one_program = shared_state_one() == shared_state_two() && shared_function_one() == shared_function_two();
  if (!one_program) std::puts("two translation units see two copies of the thread's tape or of a function");
  return one_program ? 0 : 1;
}
