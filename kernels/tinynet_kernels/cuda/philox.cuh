// Counter-based random numbers: Philox4x32-10, bit for bit that of the reference.
//
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3, with the constants
// of their library Random123.
#pragma once

namespace tinynet {

using Word = unsigned int;

/// A block of the generator: counter going in, random words coming out; least significant word first.
struct Words {
    Word word[4];
};

__device__ __forceinline__ Words philox(Words counter, Word k0, Word k1) {
    constexpr Word multiplier_0 = 0xD2511F53u, multiplier_1 = 0xCD9E8D57u;
    constexpr Word weyl_0 = 0x9E3779B9u, weyl_1 = 0xBB67AE85u;
    Word w0 = counter.word[0], w1 = counter.word[1], w2 = counter.word[2], w3 = counter.word[3];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const Word high_0 = __umulhi(w0, multiplier_0), low_0 = w0 * multiplier_0;
        const Word high_1 = __umulhi(w2, multiplier_1), low_1 = w2 * multiplier_1;
        w0 = high_1 ^ w1 ^ k0;
        w1 = low_1;
        w2 = high_0 ^ w3 ^ k1;
        w3 = low_0;
        k0 += weyl_0;
        k1 += weyl_1;
    }
    return {{w0, w1, w2, w3}};
}

/// The words of elements 4 * block to 4 * block + 3 of a dropout mask.
__device__ __forceinline__ Words mask_words(unsigned long long seed, unsigned long long step, Word layer, Word block) {
    return philox({{block, Word(step), Word(step >> 32), layer}}, Word(seed), Word(seed >> 32));
}

/// An element of a mask: 0 with probability rate, for which `threshold` is floor(rate * 2**32), else `kept`.
template <typename T>
__device__ __forceinline__ T mask_element(Word word, Word threshold, T kept) {
    return word >= threshold ? kept : T(0);
}

}  // namespace tinynet
