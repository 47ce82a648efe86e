// Kernels that tools/kernel_resources.py --self-test must complain about, and one that is sound. Never run.
#include <cstdint>

__device__ void product(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__global__ void sound_kernel(const uint4* from, uint4* to) {
  const uint4 x = from[threadIdx.x];
  const std::uint32_t a[4] = {x.x, x.y, x.z, x.w}, b[2] = {x.x, x.y};
  float d[4] = {};
  product(d, a, b);
  to[threadIdx.x] = {__float_as_uint(d[0]), __float_as_uint(d[1]), __float_as_uint(d[2]), __float_as_uint(d[3])};
}

/// The right numbers, four bytes at a time.
__global__ void narrow_kernel(const std::uint32_t* from, std::uint32_t* to) {
  for (int i = 0; i < 4; ++i) to[4 * threadIdx.x + i] = from[4 * threadIdx.x + i];
}

/// A product without tensor cores.
__global__ void scalar_kernel(const float* a, const float* b, float* to) { to[threadIdx.x] += a[threadIdx.x] * *b; }

/// An index that is known at run time only puts the array into local memory.
__global__ void local_kernel(const int* from, float* to) {
  float values[32];
  for (int i = 0; i < 32; ++i) values[from[i] & 31] = static_cast<float>(i);
  to[threadIdx.x] = values[threadIdx.x & 31];
}

/// The table of the self-test says one register less.
__global__ void hungry_kernel(float* to) { to[threadIdx.x] = 1; }

/// And does not list this one.
__global__ void unknown_kernel(float* to) { to[threadIdx.x] = 2; }
