// Barriers, votes and shuffles.
#pragma once
#include <string.h>

inline void __syncthreads(cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) { cuda_on_cpu::block_barrier(false, site); }
inline int __syncthreads_count(int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::block_barrier(predicate != 0, site).count;
}
inline int __syncthreads_and(int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::block_barrier(predicate != 0, site).all;
}
inline int __syncthreads_or(int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::block_barrier(predicate != 0, site).any;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    cuda_on_cpu::warp_barrier(mask, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::warp_ballot(mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::warp_ballot(mask, predicate != 0, site) != 0;
}
// Lanes that have returned do not vote.
inline int __all_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    return cuda_on_cpu::warp_ballot(mask, predicate == 0, site) == 0;
}

// Launches do not overlap here, and fibers never preempt: memory is sequentially consistent.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

namespace cuda_on_cpu {

template <class T>
inline T shuffle(unsigned mask, T value, int source, Site site) {
    static_assert(sizeof(T) <= 8 && __is_trivially_copyable(T), "shuffles move at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = warp_exchange(mask, bits, source, site);
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline void check_width(int width, Site site) {
    if (width < 1 || width > 32 || (width & (width - 1)))
        fail("shuffle at %s:%d expects a width that is a power of two up to 32; got %d", site.file, site.line, width);
}

}  // namespace cuda_on_cpu

// A warp is cut into segments of `width` lanes. A source outside the lane's segment stands for the lane itself, but for
// __shfl_sync, where it wraps round.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                     cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    cuda_on_cpu::check_width(width, site);
    const int begin = cuda_on_cpu::lane() & ~(width - 1);
    return cuda_on_cpu::shuffle(mask, value, begin + (source & (width - 1)), site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    cuda_on_cpu::check_width(width, site);
    const int lane = cuda_on_cpu::lane(), begin = lane & ~(width - 1);
    const bool outside = delta > static_cast<unsigned>(lane - begin);
    return cuda_on_cpu::shuffle(mask, value, outside ? lane : lane - static_cast<int>(delta), site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    cuda_on_cpu::check_width(width, site);
    const int lane = cuda_on_cpu::lane(), end = (lane & ~(width - 1)) + width;
    const bool outside = delta >= static_cast<unsigned>(end - lane);
    return cuda_on_cpu::shuffle(mask, value, outside ? lane : lane + static_cast<int>(delta), site);
}
// Unlike the others, an exclusive-or may read an earlier segment; only a later one stands for the lane itself.
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                         cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
    cuda_on_cpu::check_width(width, site);
    const int lane = cuda_on_cpu::lane(), end = (lane & ~(width - 1)) + width, source = lane ^ lanes;
    return cuda_on_cpu::shuffle(mask, value, source >= end ? lane : source, site);
}
