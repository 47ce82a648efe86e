// Every kernel: for nvcc those of a card, for g++ and clang those of the emulator.
// Written by tools/sync.py; do not edit.
#pragma once

#include <hone/kernels/activation.cuh>
#include <hone/kernels/attention_backward.cuh>
#include <hone/kernels/attention_backward_wgmma.cuh>
#include <hone/kernels/attention_band.cuh>
#include <hone/kernels/attention_decode.cuh>
#include <hone/kernels/attention_forward.cuh>
#include <hone/kernels/attention_forward_wgmma.cuh>
#include <hone/kernels/attention_gradient.cuh>
#include <hone/kernels/attention_plain.cuh>
#include <hone/kernels/attention_softmax.cuh>
#include <hone/kernels/attention_tiles.cuh>
#include <hone/kernels/attention_wgmma.cuh>
#include <hone/kernels/bias.cuh>
#include <hone/kernels/columns.cuh>
#include <hone/kernels/cross_entropy.cuh>
#include <hone/kernels/dequantise.cuh>
#include <hone/kernels/dora.cuh>
#include <hone/kernels/dropout.cuh>
#include <hone/kernels/embedding.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/fill_random.cuh>
#include <hone/kernels/gradient_norm.cuh>
#include <hone/kernels/join_rows.cuh>
#include <hone/kernels/matmul.cuh>
#include <hone/kernels/matmul_float.cuh>
#include <hone/kernels/optimizer.cuh>
#include <hone/kernels/optimizer_states.cuh>
#include <hone/kernels/optimizer_table.cuh>
#include <hone/kernels/qk_norm_rope.cuh>
#include <hone/kernels/rms_norm.cuh>
#include <hone/kernels/rope.cuh>
#include <hone/kernels/sample.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/kernels/swiglu.cuh>
