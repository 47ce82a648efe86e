// One of two translation units that include everything. What it hands out must be the other's as well.
#include <hone/hone.hpp>

const void* shared_state_one() { return &hone::current_tape(); }
const void* shared_function_one() { return reinterpret_cast<const void*>(&hone::best_isa); }
