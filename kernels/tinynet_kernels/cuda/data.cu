// Kernels that move, scale, multiply and check data.
#include "types.cuh"

namespace tinynet {

/// Numbers that C++ knows.
template <typename T>
struct Plain {
    using Stored = T;
    static __device__ __forceinline__ T read(T stored) { return stored; }
};

/// Numbers of IEEE 754's binary16 format, which CUDA knows only by a header of its toolkit.
struct Half {
    using Stored = unsigned short;
    static __device__ float read(unsigned short stored) {
        const unsigned int sign = (stored & 0x8000u) << 16, size = stored & 0x7fffu;
        if (size < 0x400u) {  // zero and subnormal numbers: multiples of the smallest
            const float value = float(size) * 0x1p-24f;
            return sign ? -value : value;
        }
        // Exponent and fraction move to their places in binary32; infinity and NaN have the largest exponent in both.
        const unsigned int bias = size >= 0x7c00u ? 255 - 31 : 127 - 15;
        return __int_as_float(int(sign | ((size << 13) + (bias << 23))));
    }
};

/// out[i] = source[index[i]]. Source is Plain<...> or Half; strides are in elements, and may be negative. From one model's
/// source and index to the next it is source_step and index_step, which are 0 where all share one.
template <typename Source, typename Out, typename Row>
__global__ void gather_rows(
    const typename Source::Stored* source, const Row* index, Out* out, Index rows, Index columns, Index row_stride,
    Index column_stride, Index source_step, Index index_step) {
    source += model_of_block() * source_step;
    index += model_of_block() * index_step;
    out += model_of_block() * rows * columns;
    for (Index i = first_y(); i < rows; i += step_y()) {
        const typename Source::Stored* row = source + index[i] * row_stride;
        for (Index j = first_x(); j < columns; j += step_x()) {
            out[i * columns + j] = Out(Source::read(row[j * column_stride]));
        }
    }
}

/// out = a * b. out may be either.
template <typename T>
__global__ void multiply(const T* a, const T* b, T* out, Index n) {
    for (Index i = first_x(); i < n; i += step_x()) {
        out[i] = a[i] * b[i];
    }
}

/// y = (x - mean) / scale, per column, in double. y may be x. From one model's mean and scale to the next it is `held`.
template <typename X, typename T>
__global__ void normalize_forward(
    const X* x, const double* mean, const double* scale, T* y, Index rows, Index columns, Index held) {
    const Index model = model_of_block();
    x += model * rows * columns;
    y += model * rows * columns;
    mean += model * held;
    scale += model * held;
    for (Index j = first_x(); j < columns; j += step_x()) {
        const double centre = mean[j], unit = scale[j];
#pragma unroll 1  // A division in double takes a dozen registers: four of them at once would spill.
        for (Index i = first_y(); i < rows; i += step_y()) {
            y[i * columns + j] = T((double(x[i * columns + j]) - centre) / unit);
        }
    }
}

/// dx = dy / scale, per column, in double. dx may be dy. From one model's scale to the next it is `held`.
template <typename T>
__global__ void normalize_backward(const double* scale, const T* dy, T* dx, Index rows, Index columns, Index held) {
    const Index model = model_of_block();
    scale += model * held;
    dy += model * rows * columns;
    dx += model * rows * columns;
    for (Index j = first_x(); j < columns; j += step_x()) {
        const double unit = scale[j];
        for (Index i = first_y(); i < rows; i += step_y()) {
            dx[i * columns + j] = T(double(dy[i * columns + j]) / unit);
        }
    }
}

/// Set flag to 1 where any of the values is infinite or NaN; it is left alone otherwise.
template <typename T>
__global__ void flag_nonfinite(const T* values, Index n, int* flag) {
    bool finite = true;
    for (Index i = first_x(); i < n; i += step_x()) {
        finite = finite && isfinite(values[i]);
    }
    if (!finite) {
        atomicExch(flag, 1);
    }
}

}  // namespace tinynet
