// What ptx.py writes instructions of PTX with: NVIDIA's "PTX ISA" says what each of them does.
#pragma once
#include <cfenv>

namespace ptx {

// Bits are kept where sizes are the same; integers are cut or extended where they are not.
template <class To, class From>
inline To as(From x) {
    if constexpr (sizeof(To) == sizeof(From)) return cuda_on_cpu::bits<To>(x);
    else return static_cast<To>(x);
}

// A parameter that is passed by value, and what is read at a place in it.
template <int n_bytes>
struct Struct {
    char bytes[n_bytes];
};
template <class T, int offset, class Parameter>
inline T of_parameter(const Parameter& x) {
    if constexpr (std::is_scalar_v<Parameter>) {
        static_assert(!offset);
        return as<T>(x);
    } else {
        static_assert(offset + sizeof(T) <= sizeof(Parameter));
        T value;
        memcpy(&value, x.bytes + offset, sizeof(T));
        return value;
    }
}

// Subnormal numbers count as 0 where an instruction says .ftz.
inline float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

template <class T>
inline T divided(T a, T b) { return b == 0 ? T(-1) : T(a / b); }
template <class T>
inline T remainder(T a, T b) { return b == 0 ? a : T(a % b); }

template <class T>
inline T high(T a, T b) {
    using Wide = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                    std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;
    return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b) >> (8 * sizeof(T)));
}

template <class T>
inline T left(T a, uint32_t by) { return by < 8 * sizeof(T) ? T(std::make_unsigned_t<T>(a) << by) : T(0); }
template <class T>
inline T right(T a, uint32_t by) { return by < 8 * sizeof(T) ? T(a >> by) : T(a < 0 ? -1 : 0); }

template <class T>
inline T inserted(T bits, T into, uint32_t at, uint32_t length) {
    const T mask = (length < 8 * sizeof(T) ? (T(1) << length) - 1 : T(-1)) << at;
    return (into & ~mask) | (bits << at & mask);
}

// Rounded down, or towards 0; not inlined, since the compiler moves arithmetic past changes of the rounding mode.
__attribute__((noinline)) inline float fused_down(float a, float b, float c) {
    const int before = fegetround();
    fesetround(FE_DOWNWARD);
    volatile float x = a, result;
    result = fmaf(x, b, c);
    fesetround(before);
    return result;
}

__attribute__((noinline)) inline float added_to_zero(float a, float b) {
    const int before = fegetround();
    fesetround(FE_TOWARDZERO);
    volatile float x = a, result;
    result = x + b;
    fesetround(before);
    return result;
}

inline float saturated(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// In double precision it is the upper half of the reciprocal; the lower one is zero.
inline float rough_reciprocal(float x) { return 1.0f / x; }
inline double rough_reciprocal(double x) {
    return cuda_on_cpu::bits<double>(cuda_on_cpu::bits<uint64_t>(1.0 / x) & 0xffffffff00000000ull);
}

template <class T>
inline T exchanged(uint64_t address, T value) {
    T* const place = reinterpret_cast<T*>(address);
    const T old = *place;
    *place = value;
    return old;
}

// shfl.bfly: from the lane whose number differs in some bits, unless it lies beyond the part of the warp.
inline uint32_t butterfly(uint32_t value, uint32_t bits, uint32_t control, uint32_t mask, cuda_on_cpu::Site site) {
    const uint32_t me = cuda_on_cpu::lane(), fixed = control >> 8 & 31, clamp = control & 31, from = me ^ bits;
    const uint32_t most = (me & fixed) | (clamp & ~fixed);
    return uint32_t(cuda_on_cpu::warp_exchange(mask, value, int(from <= most ? from : me), site));
}

// Shared memory has addresses of its own: what a kernel declares at STATIC, what the launch asks for at DYNAMIC.
constexpr uint32_t STATIC = 0x1000000, DYNAMIC = 0x2000000;

template <class T, int lanes = 1>
inline T* shared_at(uint32_t address, char* own, uint32_t n_own, char* dynamic, int statement) {
    if (address % (lanes * sizeof(T))) cuda_on_cpu::fail("misaligned shared address %#x at statement %d", address, statement);
    if (address >= DYNAMIC) return reinterpret_cast<T*>(dynamic + (address - DYNAMIC));
    if (address < STATIC || address - STATIC + lanes * sizeof(T) > n_own)
        cuda_on_cpu::fail("no shared memory at %#x, statement %d", address, statement);
    return reinterpret_cast<T*>(own + (address - STATIC));
}

template <class T, int lanes = 1>
inline T* global_at(uint64_t address, int statement) {
    if (address % (lanes * sizeof(T))) cuda_on_cpu::fail("misaligned address %#lx at statement %d", address, statement);
    return reinterpret_cast<T*>(address);
}

}  // namespace ptx
