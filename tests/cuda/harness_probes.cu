// Kernels that try the harness: each does one thing that must work, or must be reported.

extern "C" __global__ void copy(const float* x, float* y, int n, float scale) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = scale * x[i];
}

struct Pair { int first; float second; };

extern "C" __global__ void typed(double d, long long l, unsigned char* bytes, const unsigned short* halves, Pair pair,
                                 bool flag, void* anything) {
    if (bytes) bytes[0] = static_cast<unsigned char>(d + static_cast<double>(l) + pair.first + pair.second + flag);
}

extern "C" __global__ void load4(const float* x, float* y) {
    *reinterpret_cast<float4*>(y) = *reinterpret_cast<const float4*>(x);
}

extern "C" __global__ void wants_float4(const float4* x, float* y) { *y = x->x + x->y + x->z + x->w; }

extern "C" __global__ void indices(int* out) {
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

extern "C" __global__ void neighbour(const int* x, int* y, int with_barrier) {
    __shared__ int values[64];
    values[threadIdx.x] = x[threadIdx.x];
    if (with_barrier) __syncthreads();
    y[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

extern "C" __global__ void last_block(int* which) { *which = blockIdx.x; }

extern "C" __global__ void unwritten(float* statics, float* dynamics) {
    __shared__ float value[2];
    extern __shared__ float dynamic[];
    statics[blockIdx.x] = value[1];
    dynamics[blockIdx.x] = dynamic[3];
    value[1] = dynamic[3] = 7.0f;  // What the next block must not see.
}

namespace inner {
__device__ void write(int at) {
    extern __shared__ double numbers[];
    numbers[at] = 1.0;
}
}

extern "C" __global__ void write_dynamic(int at) { inner::write(at); }

extern "C" __global__ void aliases(float* out) {
    extern __shared__ float dynamic[];
    inner::write(0);
    *out = dynamic[1];  // The upper half of the double 1.0.
}

extern "C" __global__ void static_index(int at) {
    __shared__ int values[8];
    values[at] = 1;
}

extern "C" __global__ void divide(int a, int b, int* out) { *out = a / b; }

extern "C" __global__ void null_or_trap(int trap, int* p) {
    if (trap) __trap();
    assert(p != nullptr);
}

extern "C" __global__ void different_barriers() {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

extern "C" __global__ void barrier_and_warp() {
    if (threadIdx.x == 0)
        __syncthreads();
    else
        __syncwarp();
}

extern "C" __global__ void early_return(int* out) {
    if (threadIdx.x % 3 == 0) return;
    __syncthreads();
    out[threadIdx.x] = __syncthreads_count(1);
}

extern "C" __global__ void missing_lane(int* out) {
    if (threadIdx.x == 5) return;
    out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 5);
}

extern "C" __global__ void outside_mask() { __syncwarp(1u << ((threadIdx.x + 1) % 32)); }

extern "C" __global__ void different_masks() {
    if (threadIdx.x == 0)
        __syncwarp(3u);
    else
        __syncwarp(7u);
}

extern "C" __global__ void different_warp_calls(int* out) {
    if (threadIdx.x == 0)
        out[0] = __shfl_sync(3u, 1, 0);
    else
        out[1] = __shfl_sync(3u, 1, 0);
}

extern "C" __global__ void votes(const int* p, int* out) {
    const int i = threadIdx.x, n = blockDim.x;
    out[i] = __syncthreads_count(p[i]);
    out[n + i] = __syncthreads_and(p[i]);
    out[2 * n + i] = __syncthreads_or(p[i]);
    out[3 * n + i] = static_cast<int>(__ballot_sync(0xffffffffu, p[i]));
    out[4 * n + i] = __any_sync(0xffffffffu, p[i]);
    out[5 * n + i] = __all_sync(0xffffffffu, p[i]);
}

template <typename T, int WIDTH>
__global__ void shuffles(const T* x, T* out, int by) {
    const int i = threadIdx.x;
    out[i] = __shfl_sync(0xffffffffu, x[i], by, WIDTH);
    out[32 + i] = __shfl_up_sync(0xffffffffu, x[i], by, WIDTH);
    out[64 + i] = __shfl_down_sync(0xffffffffu, x[i], by, WIDTH);
    out[96 + i] = __shfl_xor_sync(0xffffffffu, x[i], by, WIDTH);
}

// The lower half of the warp is one shuffle ahead when all meet again.
extern "C" __global__ void uneven_shuffles(int* out) {
    int v = threadIdx.x;
    if (v < 16) v = __shfl_xor_sync(0x0000ffffu, v, 1);
    out[threadIdx.x] = __shfl_sync(0xffffffffu, v, 31 - threadIdx.x);
}

template <typename T>
__global__ void atomics(T* sum, T* exchanged, T* maximum) {
    atomicAdd(sum, T(threadIdx.x));
    atomicExch(exchanged, T(3));
    (void)maximum;
}

extern "C" __global__ void integer_atomics(int* i, unsigned* u, unsigned long long* l) {
    const int t = threadIdx.x;
    atomicMax(&i[0], t), atomicMin(&i[1], -t), atomicSub(&i[2], 1), atomicOr(&i[3], 1 << (t % 30));
    atomicMax(&u[0], unsigned(t)), atomicInc(&u[1], 5u), atomicAnd(&u[2], ~(1u << (t % 32)));
    atomicMax(&l[0], 1ull << 40), atomicCAS(&l[1], 0ull, 9ull), atomicXor(&l[2], 1ull);
}

// atomicAdd on a double, by compare-and-swap, as for old GPUs.
extern "C" __global__ void cas_loop(double* sum) {
    auto* bits = reinterpret_cast<unsigned long long*>(sum);
    unsigned long long old = *bits, expected;
    do {
        expected = old;
        old = atomicCAS(bits, expected,
                        static_cast<unsigned long long>(__double_as_longlong(1.5 + __longlong_as_double(static_cast<long long>(expected)))));
    } while (old != expected);
}

template <typename T>
__global__ void mathematics(const T* x, T* out, int n) {
    const int i = threadIdx.x;
    const T v = x[i];
    T* y = out + i;
    y[0 * n] = exp(v), y[1 * n] = expm1(v), y[2 * n] = log1p(fabs(v)), y[3 * n] = tanh(v);
    y[4 * n] = erf(v), y[5 * n] = erfc(v), y[6 * n] = rsqrt(fabs(v) + T(1)), y[7 * n] = fma(v, v, T(1));
    y[8 * n] = sqrt(fabs(v)), y[9 * n] = pow(fabs(v), T(1.5)), y[10 * n] = copysign(T(2), v), y[11 * n] = normcdf(v);
}

extern "C" __global__ void bits(const unsigned* a, const unsigned* b, unsigned* out, int n) {
    const int i = threadIdx.x;
    unsigned* y = out + i;
    y[0 * n] = __umulhi(a[i], b[i]), y[1 * n] = __brev(a[i]), y[2 * n] = __popc(a[i]);
    y[3 * n] = __clz(static_cast<int>(a[i])), y[4 * n] = __funnelshift_l(a[i], b[i], 7);
    y[5 * n] = __float_as_uint(__uint_as_float(a[i] & 0x3fffffffu)), y[6 * n] = __ffs(static_cast<int>(a[i]));
}

extern "C" __global__ void extremes(const float* a, const float* b, float* out, int n) {
    const int i = threadIdx.x;
    out[i] = min(a[i], b[i]), out[n + i] = max(a[i], b[i]);
}
