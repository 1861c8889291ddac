// Kernels for the tests of the harness itself: small, right, and in need of every barrier but one.

// out[b] = sum of the block's part of x: shuffles within warps, shared memory between them.
template <typename T>
__global__ void block_sums(const T* __restrict__ x, T* __restrict__ out, int n) {
    __shared__ T partial[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    T sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (lane == 0) partial[warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        T total = 0;
        for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) total += partial[w];
        out[blockIdx.x] = total;
    }
}

// y[i] = x[i] - x[i - 1] within the block, by way of dynamic shared memory that two rounds use in turn.
template <typename T>
__global__ void differences(const T* __restrict__ x, T* __restrict__ y, int rounds) {
    extern __shared__ unsigned char memory[];
    T* values = reinterpret_cast<T*>(memory);
    for (int round = 0; round < rounds; ++round) {
        const int i = round * blockDim.x + threadIdx.x;
        values[threadIdx.x] = x[i];
        __syncthreads();
        y[i] = threadIdx.x == 0 ? x[i] : values[threadIdx.x] - values[threadIdx.x - 1];
        __syncthreads();  // Without it, a quick thread overwrites what a slow one has yet to read.
    }
}

// The same, within a warp.
template <typename T>
__global__ void warp_reverse(const T* __restrict__ x, T* __restrict__ y) {
    __shared__ T values[32];
    values[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = values[31 - threadIdx.x];
    __syncthreads();  // Not needed: a mutant without it is right.
}
