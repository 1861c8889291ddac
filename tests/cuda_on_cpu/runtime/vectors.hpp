// The built-in vector types, with CUDA's alignment.
#pragma once

namespace cuda_on_cpu {
constexpr int vector_alignment(int bytes) { return bytes >= 16 ? 16 : bytes; }
}

#define CUDA_ON_CPU_VECTORS(Type, name)                                                                  \
    struct alignas(sizeof(Type)) name##1 { Type x; };                                                    \
    struct alignas(cuda_on_cpu::vector_alignment(2 * sizeof(Type))) name##2 { Type x, y; };              \
    struct name##3 { Type x, y, z; };                                                                    \
    struct alignas(cuda_on_cpu::vector_alignment(4 * sizeof(Type))) name##4 { Type x, y, z, w; };        \
    inline name##1 make_##name##1(Type x) { return {x}; }                                                \
    inline name##2 make_##name##2(Type x, Type y) { return {x, y}; }                                     \
    inline name##3 make_##name##3(Type x, Type y, Type z) { return {x, y, z}; }                          \
    inline name##4 make_##name##4(Type x, Type y, Type z, Type w) { return {x, y, z, w}; }

CUDA_ON_CPU_VECTORS(float, float)
CUDA_ON_CPU_VECTORS(double, double)
CUDA_ON_CPU_VECTORS(int, int)
CUDA_ON_CPU_VECTORS(short, short)
CUDA_ON_CPU_VECTORS(unsigned short, ushort)
CUDA_ON_CPU_VECTORS(signed char, char)
CUDA_ON_CPU_VECTORS(unsigned char, uchar)
CUDA_ON_CPU_VECTORS(long long, longlong)
CUDA_ON_CPU_VECTORS(unsigned long long, ulonglong)
#undef CUDA_ON_CPU_VECTORS

// uint3 is in runtime.hpp, for threadIdx.
struct alignas(4) uint1 { unsigned x; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint1 make_uint1(unsigned x) { return {x}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
