// Atomic functions, on global and on shared memory. Relaxed, as CUDA's are.
#pragma once

namespace cuda_on_cpu {

template <class T, class Function>
inline T read_modify_write(T* address, Function function) {
    if (reinterpret_cast<uintptr_t>(address) % sizeof(T)) fail("atomic on a misaligned address %p", static_cast<void*>(address));
    T old, updated;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do updated = function(old);
    while (!__atomic_compare_exchange(address, &old, &updated, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_ATOMIC(name, Type, expression)                                                 \
    inline Type name(Type* address, Type value) {                                                  \
        return cuda_on_cpu::read_modify_write(address, [&](Type old) -> Type { return expression; }); \
    }
#define CUDA_ON_CPU_INTEGERS(name, expression)     \
    CUDA_ON_CPU_ATOMIC(name, int, expression)      \
    CUDA_ON_CPU_ATOMIC(name, unsigned, expression) \
    CUDA_ON_CPU_ATOMIC(name, unsigned long long, expression)

// Signed addition wraps, as on the device.
CUDA_ON_CPU_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
CUDA_ON_CPU_ATOMIC(atomicAdd, unsigned, old + value)
CUDA_ON_CPU_ATOMIC(atomicAdd, unsigned long long, old + value)
CUDA_ON_CPU_ATOMIC(atomicAdd, float, old + value)
CUDA_ON_CPU_ATOMIC(atomicAdd, double, old + value)
CUDA_ON_CPU_ATOMIC(atomicSub, int, static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(value)))
CUDA_ON_CPU_ATOMIC(atomicSub, unsigned, old - value)
CUDA_ON_CPU_INTEGERS(atomicMin, value < old ? value : old)
CUDA_ON_CPU_ATOMIC(atomicMin, long long, value < old ? value : old)
CUDA_ON_CPU_INTEGERS(atomicMax, old < value ? value : old)
CUDA_ON_CPU_ATOMIC(atomicMax, long long, old < value ? value : old)
CUDA_ON_CPU_INTEGERS(atomicAnd, old & value)
CUDA_ON_CPU_INTEGERS(atomicOr, old | value)
CUDA_ON_CPU_INTEGERS(atomicXor, old ^ value)
CUDA_ON_CPU_INTEGERS(atomicExch, value)
CUDA_ON_CPU_ATOMIC(atomicExch, float, value)
CUDA_ON_CPU_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
CUDA_ON_CPU_ATOMIC(atomicDec, unsigned, old == 0u || old > value ? value : old - 1u)
#undef CUDA_ON_CPU_INTEGERS
#undef CUDA_ON_CPU_ATOMIC

#define CUDA_ON_CPU_CAS(Type)                                              \
    inline Type atomicCAS(Type* address, Type compare, Type value) {       \
        return cuda_on_cpu::read_modify_write(                             \
            address, [&](Type old) -> Type { return old == compare ? value : old; }); \
    }
CUDA_ON_CPU_CAS(int)
CUDA_ON_CPU_CAS(unsigned)
CUDA_ON_CPU_CAS(unsigned short)
CUDA_ON_CPU_CAS(unsigned long long)
#undef CUDA_ON_CPU_CAS
