// Sums over the threads of a block, in an order that depends on the sizes alone: the same bits in every run.
#pragma once

namespace tinynet {

/// Replace each of n values by its sum over the block, which has at most 32 warps, all of them whole. Between two calls
/// in one kernel there must be a __syncthreads().
template <typename T, int n>
__device__ __forceinline__ void block_sum(T (&values)[n]) {
    __shared__ T warp_sums[n][32];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int warps = blockDim.x * blockDim.y / 32;
#pragma unroll
    for (int k = 0; k < n; ++k) {
        for (int distance = 16; distance > 0; distance /= 2) {
            values[k] += __shfl_xor_sync(0xffffffffu, values[k], distance);
        }
        if (thread % 32 == 0) {
            warp_sums[k][thread / 32] = values[k];
        }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < n; ++k) {
        values[k] = warp_sums[k][0];
        for (int warp = 1; warp < warps; ++warp) {
            values[k] += warp_sums[k][warp];
        }
    }
}

/// Sum of one value over the block; every thread gets it.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
    T values[1] = {value};
    block_sum(values);
    return values[0];
}

}  // namespace tinynet
