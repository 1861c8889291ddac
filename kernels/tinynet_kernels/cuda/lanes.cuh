// Groups of threads that share a row: their sums and maxima, in an order that depends on the sizes alone.
#pragma once

#include "types.cuh"

namespace tinynet {

/// `count` neighbouring threads of a warp that share a row; a power of two, at most 32. All threads of the warp must
/// make the same calls.
struct Lanes {
    int count;

    __device__ __forceinline__ int rank() const { return threadIdx.x & (count - 1); }

    template <typename T>
    __device__ __forceinline__ T sum(T value) const {
        for (int distance = count / 2; distance > 0; distance /= 2) {
            value += __shfl_xor_sync(0xffffffffu, value, distance);
        }
        return value;
    }

    /// The largest; whether NaN is seen depends on where it stands.
    template <typename T>
    __device__ __forceinline__ T max(T value) const {
        for (int distance = count / 2; distance > 0; distance /= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, value, distance);
            value = other > value ? other : value;
        }
        return value;
    }
};

/// Which rows a thread takes when a block is cut into groups of lanes, a row for each: base + offset for
/// base = first, first + step, ... The bases are the same for the whole block, so that its warps stay together.
struct RowsOfLanes {
    Index first, step;
    int offset;

    __device__ __forceinline__ explicit RowsOfLanes(int lanes) {
        const int groups = blockDim.x / lanes;
        first = Index(blockIdx.x) * groups;
        step = Index(gridDim.x) * groups;
        offset = threadIdx.x / lanes;
    }
};

/// The largest of a row's numbers.
template <typename T>
__device__ __forceinline__ T row_peak(const T* z, Index n, Lanes lanes) {
    T peak = minus_infinity<T>();
    for (Index j = lanes.rank(); j < n; j += lanes.count) {
        // The first of a lane is taken as it is: a comparison would lose NaN.
        peak = z[j] > peak || j < lanes.count ? z[j] : peak;
    }
    return lanes.max(peak);
}

}  // namespace tinynet
