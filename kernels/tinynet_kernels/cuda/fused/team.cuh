// Who trains a model together: a block of threads, or a warp of it beside others that train models of their own.
//
// The prelude names the team that a kernel is cut for, net::Team. What is written for a team knows how many threads it
// has, which of them this one is, how to wait for one another, and how to add up; no more tells the two apart.
#pragma once

#include "lanes.cuh"
#include "reduce.cuh"

namespace tinynet {

/// All threads of a block.
struct Block {
    static constexpr int size = net::threads;
    static constexpr int slots = 8;  // numbers of the next tile that a thread holds while it works on this one
    static constexpr int packs = 8;  // of a row that may be on their way to a thread at a time

    /// This thread's number in the team; without a sign, for which divisions cost less.
    static __device__ __forceinline__ unsigned int rank() { return threadIdx.x; }
    /// The team's number in its block, and in the grid.
    static __device__ __forceinline__ int place() { return 0; }
    static __device__ __forceinline__ Index number() { return blockIdx.x; }

    /// Wait for one another: what a thread has written before, all of them see after.
#ifdef CUDA_ON_CPU  // where barriers are told apart by the lines that they stand in
    static void sync(cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) { __syncthreads(site); }
#else
    static __device__ __forceinline__ void sync() { __syncthreads(); }
#endif

    /// Replace each value by its sum over the team. Between two sums of as many values there must be a sync().
    template <class T, int n>
    static __device__ __forceinline__ void sum(T (&values)[n]) {
        block_sum(values);
    }
};

/// A warp. Those of a block have nothing to do with one another but the memory that they have parts of.
struct Warp {
    static constexpr int size = 32;
    // Its lanes take more of a layer than the threads of a block do, and other warps hide what they wait for. With as
    // many numbers at hand as a block's threads, registers would not do for 12 of them on a multiprocessor.
    static constexpr int slots = 4;
    static constexpr int packs = 2;

    static __device__ __forceinline__ unsigned int rank() { return threadIdx.x % size; }
    static __device__ __forceinline__ int place() { return threadIdx.x / size; }
    static __device__ __forceinline__ Index number() { return Index(blockIdx.x) * net::models + place(); }

#ifdef CUDA_ON_CPU
    static void sync(cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) { __syncwarp(0xffffffffu, site); }
#else
    static __device__ __forceinline__ void sync() { __syncwarp(); }
#endif

    /// Lanes exchange what they have, so that there is no memory to wait for.
    template <class T, int n>
    static __device__ __forceinline__ void sum(T (&values)[n]) {
#pragma unroll
        for (int k = 0; k < n; ++k) {
            values[k] = Lanes{size}.sum(values[k]);
        }
    }
};

using net::Team;

/// Sum of one value over the team; every thread gets it.
template <class T>
__device__ __forceinline__ T team_sum(T value) {
    T values[1] = {value};
    Team::sum(values);
    return values[0];
}

}  // namespace tinynet
