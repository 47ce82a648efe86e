// The other of two translation units that include everything.
#include <hone/hone.hpp>

const void* shared_state_two() { return &hone::current_tape(); }
const void* shared_function_two() { return reinterpret_cast<const void*>(&hone::best_isa); }
