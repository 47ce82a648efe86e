// The tensor library's ops in one header. Kernels come with the device: engine.hpp includes the processor's.
#pragma once

#include <hone/autograd/backward.hpp>
#include <hone/ops/arithmetic.hpp>
#include <hone/ops/cast.hpp>
#include <hone/ops/checkpoint.hpp>
#include <hone/ops/compare.hpp>
#include <hone/ops/creation.hpp>
#include <hone/ops/dropout.hpp>
#include <hone/ops/gather.hpp>
#include <hone/ops/matmul.hpp>
#include <hone/ops/permute.hpp>
#include <hone/ops/reduce.hpp>
#include <hone/ops/reshape.hpp>
#include <hone/ops/slice.hpp>
#include <hone/ops/softmax.hpp>
#include <hone/ops/unary.hpp>
