// Indices, vectors of neighbours, and which elements a thread takes.
#pragma once

namespace tinynet {

/// Wide enough for any array; 32 bits would end at 8 GiB of floats.
using Index = long long;

/// Neighbours in memory that move in one instruction; the address must be a multiple of the size.
template <typename T, int width>
struct alignas(sizeof(T) * width) Pack {
    T lane[width];
};

template <int width, typename T>
__device__ __forceinline__ Pack<T, width>* packs(T* array) {
    return reinterpret_cast<Pack<T, width>*>(array);
}

template <int width, typename T>
__device__ __forceinline__ const Pack<T, width>* packs(const T* array) {
    return reinterpret_cast<const Pack<T, width>*>(array);
}

/// The smallest number there is: where a search for the largest begins.
template <typename T>
__device__ __forceinline__ T minus_infinity() {
    return T(-1) / T(0);
}

// A thread takes the elements first, first + step, first + 2 * step, ... of each dimension: a grid of any size covers
// an array of any size.
__device__ __forceinline__ Index first_x() { return Index(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ Index step_x() { return Index(gridDim.x) * blockDim.x; }
__device__ __forceinline__ Index first_y() { return Index(blockIdx.y) * blockDim.y + threadIdx.y; }
__device__ __forceinline__ Index step_y() { return Index(gridDim.y) * blockDim.y; }

/// Which of many models a block works on. Kernels that have models compute for each what they do for one: z runs along
/// the models, and what a model has of its own lies a fixed step behind what the one before has.
__device__ __forceinline__ Index model_of_block() { return blockIdx.z; }

}  // namespace tinynet
