// The generic ops with the processor's kernels for them.
#pragma once

#include <hone/cpu/dropout.hpp>
#include <hone/cpu/fill_copy.hpp>
#include <hone/cpu/fill_random.hpp>
#include <hone/cpu/gather.hpp>
#include <hone/cpu/map.hpp>
#include <hone/cpu/matmul.hpp>
#include <hone/cpu/reduce.hpp>
#include <hone/cpu/softmax.hpp>
#include <hone/ops/tensor_ops.hpp>
